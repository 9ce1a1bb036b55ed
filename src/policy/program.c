/* Programs and identities: which file runs, and as whom.
 *
 * Refuses a program that is not there or cannot be executed, and users and groups that do not exist or that
 * usher has no right to become. Both are looked up now, once: the master that starts the program later has no
 * user database to ask and no PATH to be led by. */
#include "compile.h"
#include "executable.h"
#include <errno.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The absolute path of a program, or NULL with a complaint. A link stays as it is: some programs look at
 * their name. */
static const char *program_path(struct compiler *compiler, const struct setting *at, const char *key)
{
	const char *name = setting_text(at), *path = name;
	char found[PATH_MAX];

	if (!*name) {
		compile_error(compiler, at, "`%s' begins with an empty string, expected a program", key);
		return NULL;
	}
	if (!strchr(name, '/')) {
		if (executable_find(name, found, sizeof(found)) == 0)
			return arena_strdup(compiler->arena, found);
		compile_error(compiler, at, "program `%s' is not in PATH, expected an executable file", name);
		return NULL;
	}
	if (name[0] != '/') {
		char *folder = getcwd(NULL, 0);
		path = arena_printf(compiler->arena, "%s/%s", folder ? folder : "", name);
		free(folder);
	}
	int error = executable_check(path);
	if (!error)
		return path == name ? arena_strdup(compiler->arena, name) : path;
	compile_error(compiler, at, "program `%s': %s, expected an executable file", path,
		error == -EACCES ? "not executable" : strerror(-error));
	return NULL;
}

char *const *program_argv(struct compiler *compiler, const struct setting *at, const char *key)
{
	size_t count = setting_count(at);
	char **argv = arena_alloc(compiler->arena, (count + 1) * sizeof(*argv));

	argv[0] = (char *)program_path(compiler, setting_item(at, 0), key);
	for (size_t i = 1; i < count; i++)
		argv[i] = arena_strdup(compiler->arena, setting_text(setting_item(at, i)));
	return argv;
}

void program_compile(struct compiler *compiler, const struct values *values, struct program *ret)
{
	*ret = (struct program){
		.argv = program_argv(compiler, values->value[SERVICE_EXEC], "exec"),
		.stdio = values_choice(values, SERVICE_STDIO),
	};

	program_identity(compiler, ret, values->value[SERVICE_USER], values->value[SERVICE_GROUP]);
}

void program_identity(
	struct compiler *compiler, struct program *ret, const struct setting *user, const struct setting *group)
{
	const struct identity *identity = user || group ? identity_find(compiler, user, group) : NULL;

	if (!identity)
		return;
	ret->own_identity = geteuid() == 0; /* else it is ours already, as identity_find() made sure */
	ret->uid = identity->uid;
	ret->gid = identity->gid;
	ret->groups = identity->groups;
	ret->n_groups = identity->n_groups;
	ret->user = identity->user;
	ret->home = identity->home;
	ret->shell = identity->shell;
}

void program_unprivileged(const struct compiler *compiler, struct program *ret)
{
	const struct policy *policy = compiler->policy;

	ret->own_identity = policy->drop_identity;
	ret->uid = policy->uid;
	ret->gid = policy->gid;
	ret->user = policy->user;
	ret->home = "/";
	ret->shell = "/bin/sh";
}

/* ---- identities ---- */

/* "33" as well as "www-data". */
static bool number_parse(const char *text, unsigned *ret)
{
	char *end;
	unsigned long value = strtoul(text, &end, 10);

	if (*text < '0' || *text > '9' || *end || value >= UINT32_MAX) /* the last one means "none" */
		return false;
	*ret = (unsigned)value;
	return true;
}

static bool user_find(struct compiler *compiler, const struct setting *at, struct identity *ret)
{
	unsigned number;
	const char *text = at ? setting_text(at) : NULL;
	const struct passwd *entry = !text ? getpwuid(geteuid()) : getpwnam(text);

	if (!entry && text && number_parse(text, &number))
		entry = getpwuid(number);
	if (!entry && text) {
		compile_error(compiler, at, "unknown user `%s', expected a user of this machine", text);
		return false;
	}
	ret->uid = entry ? entry->pw_uid : geteuid();
	ret->gid = entry ? entry->pw_gid : getegid();
	ret->user =
		entry ? arena_strdup(compiler->arena, entry->pw_name) : arena_printf(compiler->arena, "%u", ret->uid);
	ret->home = entry ? arena_strdup(compiler->arena, entry->pw_dir) : "/";
	ret->shell = entry && *entry->pw_shell ? arena_strdup(compiler->arena, entry->pw_shell) : "/bin/sh";
	return true;
}

static bool group_find(struct compiler *compiler, const struct setting *at, struct identity *ret)
{
	unsigned number;
	const char *text = setting_text(at);
	const struct group *entry = getgrnam(text);

	if (!entry && number_parse(text, &number))
		entry = getgrgid(number);
	if (!entry) {
		compile_error(compiler, at, "unknown group `%s', expected a group of this machine", text);
		return false;
	}
	ret->gid = entry->gr_gid;
	return true;
}

static void groups_find(struct compiler *compiler, struct identity *identity)
{
	int count = 64;
	gid_t *groups = NULL;

	for (;;) {
		groups = reallocarray(groups, (size_t)count, sizeof(*groups));
		if (!groups)
			abort();
		int room = count;
		if (getgrouplist(identity->user, identity->gid, groups, &count) >= 0)
			break;
		if (count <= room)
			count = room * 2;
	}
	identity->groups = arena_memdup(compiler->arena, groups, (size_t)count * sizeof(*groups));
	identity->n_groups = (size_t)count;
	free(groups);
}

static bool identity_allowed(struct compiler *compiler, const struct identity *identity, const struct setting *user,
	const struct setting *group)
{
	if (geteuid() == 0)
		return true;
	if (identity->uid != geteuid())
		compile_error(compiler, user,
			"user `%s' is not the one that starts usher, and to become another needs root",
			setting_text(user));
	else if (group && identity->gid != getegid())
		compile_error(compiler, group,
			"group `%s' is not the one that starts usher, and to become another needs root",
			setting_text(group));
	else
		return true;
	return false;
}

static const struct identity *identity_look_up(
	struct compiler *compiler, const struct setting *user, const struct setting *group)
{
	struct identity *identity = arena_alloc(compiler->arena, sizeof(*identity));

	if (!user_find(compiler, user, identity) || (group && !group_find(compiler, group, identity)) ||
		!identity_allowed(compiler, identity, user, group))
		return NULL;
	groups_find(compiler, identity);
	return identity;
}

const struct identity *identity_find(
	struct compiler *compiler, const struct setting *user, const struct setting *group)
{
	const char *key = arena_printf(
		compiler->arena, "%s\n%s", user ? setting_text(user) : "", group ? setting_text(group) : "");
	size_t n = compiler->n_identities;
	uint32_t number = index_find(compiler->identities, key);

	if (number != INDEX_NONE)
		return compiler->identity[number];
	const struct identity *identity = identity_look_up(compiler, user, group);
	if (!identity)
		return NULL; /* asked again, so that each place gets its complaint */
	if ((n & (n - 1)) == 0) {
		compiler->identity = reallocarray(compiler->identity, n ? n * 2 : 1, sizeof(*compiler->identity));
		if (!compiler->identity)
			abort();
	}
	compiler->identity[compiler->n_identities++] = identity;
	index_add(compiler->identities, key, (uint32_t)n);
	return identity;
}

void identity_compile(struct compiler *compiler, const struct values *top)
{
	struct policy *policy = compiler->policy;
	const struct setting *user = top->value[TOP_USER], *group = top->value[TOP_GROUP];
	const struct identity *identity = NULL;
	struct identity preset = { .user = getpwnam("usher") ? "usher" : "nobody" };

	if (user || group || geteuid() != 0) {
		if (!user && geteuid() == 0) {
			compile_error(compiler, group, "`group' without `user', expected both");
			return;
		}
		identity = identity_look_up(compiler, user, group);
	} else {
		const struct passwd *entry = getpwnam(preset.user);
		if (entry) {
			preset.uid = entry->pw_uid;
			preset.gid = entry->pw_gid;
			identity = &preset;
		} else {
			compile_error(compiler, NULL,
				"started as root, and there is no user `usher' or `nobody': expected `user'");
		}
	}
	if (!identity)
		return;
	policy->drop_identity = geteuid() == 0;
	policy->user = arena_strdup(compiler->arena, identity->user);
	policy->uid = identity->uid;
	policy->gid = identity->gid;
	if (policy->drop_identity && policy->uid == 0)
		reader_warn(compiler->reader, user,
			"workers run as root: an attacker who takes one over is root; expected another "
			"`user'");
}
