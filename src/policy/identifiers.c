/* The `identifiers` key: where names of protocols come from besides.
 *
 * A module is looked at now, in a process of its own, so that the policy knows its probes: each becomes a
 * protocol behind the user's own, in the order of their priorities. Every other key of the module's group is
 * its own. Refuses a module that cannot be used, with the module's or the loader's reason, and keys that the
 * module does not ask for.
 *
 * Everything lives in the policy's arena. */
#include "compile.h"
#include "module.h"
#include "paths.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MODULE_KEY  "module"
#define PROGRAM_KEY "program"

/* ---- A module's own keys ---- */

static bool value_compile(struct compiler *compiler, const struct setting *at, struct module_value *ret)
{
	switch (setting_kind(at)) {
	case SETTING_STRING:
		*ret = (struct module_value){ MODULE_STRING,
			.text = arena_strdup(compiler->arena, setting_text(at)) };
		return true;
	case SETTING_WHOLE:
		*ret = (struct module_value){ MODULE_WHOLE, .whole = setting_whole(at),
			.real = (double)setting_whole(at) };
		return true;
	case SETTING_REAL:
		*ret = (struct module_value){ MODULE_REAL, .real = setting_real(at) };
		return true;
	case SETTING_BOOL:
		*ret = (struct module_value){ MODULE_BOOL, .whole = setting_bool(at) };
		return true;
	default:
		compile_error(compiler, at,
			"a module takes no groups and no lists in lists, expected a string, a number, true, false or "
			"a "
			"list of them");
		return false;
	}
}

static void settings_compile(struct compiler *compiler, struct module_use *use, const struct setting *group)
{
	size_t count = setting_member_count(group);

	use->settings = arena_alloc(compiler->arena, count * sizeof(*use->settings));
	for (size_t i = 0; i < count; i++) {
		const struct setting *at = setting_member(group, i);
		struct module_setting *setting = &use->settings[use->n_settings];
		if (strcmp(setting_name(at), MODULE_KEY) == 0)
			continue;
		struct module_value *values =
			arena_alloc(compiler->arena, setting_count(at) * sizeof(struct module_value));
		*setting = (struct module_setting){ .key = arena_strdup(compiler->arena, setting_name(at)),
			.values = values };
		for (size_t k = 0; k < setting_count(at); k++)
			if (value_compile(compiler, setting_item(at, k), &values[setting->n_values]))
				setting->n_values++;
		use->n_settings++;
	}
}

static void unasked_complain(struct compiler *compiler, const struct module_use *use, const struct setting *group)
{
	for (size_t i = 0; i < use->n_settings; i++)
		if (!use->settings[i].asked)
			compile_error(compiler, setting_find(group, use->settings[i].key),
				"unknown key `%s' of module `%s': the module does not ask for it",
				use->settings[i].key, use->path);
}

/* ---- one module ---- */

/* The protocols' numbers are known when all modules' probes are; until then a list of names is kept beside.
 * */
struct naming {
	struct compiler *compiler;
	struct index *names; /* of modules' probes */
};

static bool name_is_taken(void *context, const char *name)
{
	const struct naming *naming = context;

	return index_find(naming->compiler->protocols, name) != INDEX_NONE ||
		index_find(naming->names, name) != INDEX_NONE;
}

static const char *module_path(struct compiler *compiler, const struct setting *at)
{
	const char *path = setting_text(at);

	if (!path || !*path) {
		compile_error(compiler, at,
			"`" MODULE_KEY "' is %s, expected the path of a shared object, or the name of one in %s",
			path ? "an empty string" : "not a string", path_modules);
		return NULL;
	}
	if (!strchr(path, '/'))
		return arena_printf(compiler->arena, "%s/%s.so", path_modules, path);
	if (path[0] == '/')
		return arena_strdup(compiler->arena, path);
	char *folder = getcwd(NULL, 0);
	path = arena_printf(compiler->arena, "%s/%s", folder ? folder : "", path);
	free(folder);
	return path;
}

static bool module_compile(struct naming *naming, struct module_use *use, const struct setting *group)
{
	struct compiler *compiler = naming->compiler;
	const struct policy *policy = compiler->policy;
	const struct setting *at = setting_find(group, MODULE_KEY);
	struct module_inspection how = { .drop_identity = policy->drop_identity,
		.uid = policy->uid,
		.gid = policy->gid,
		.is_taken = name_is_taken,
		.context = naming };
	char error[MODULE_ERROR_MAX];

	use->path = module_path(compiler, at);
	settings_compile(compiler, use, group);
	if (!use->path)
		return false;
	if (module_inspect(use, &how, compiler->arena, error, sizeof(error)) < 0) {
		compile_error(compiler, at, "%s", error);
		return false;
	}
	unasked_complain(compiler, use, group);
	for (size_t i = 0; i < use->n_probes; i++) {
		const char *name = use->probes[i].name;
		if (name_is_taken(naming, name)) /* the report was tampered with: the module had been told */
			compile_error(
				compiler, at, "module `%s' registers probe `%s', which is taken", use->path, name);
		index_add(naming->names, name, 0);
	}
	return true;
}

/* ---- probes as protocols ---- */

struct place {
	struct module_probe *probe;
	size_t number; /* in order of registration, over all modules */
};

static int place_compare(const void *a, const void *b)
{
	const struct place *x = a, *y = b;
	int r = (x->probe->priority > y->probe->priority) - (x->probe->priority < y->probe->priority);

	return r != 0 ? r : (x->number > y->number) - (x->number < y->number);
}

/* Behind the protocols that are there already. */
static void probes_append(struct compiler *compiler)
{
	struct policy *policy = compiler->policy;
	size_t n = 0;

	for (size_t m = 0; m < policy->n_modules; m++)
		n += policy->modules[m].n_probes;
	struct place *places = arena_alloc(compiler->arena, (n + 1) * sizeof(*places));
	struct protocol *protocols = arena_alloc(compiler->arena, (policy->n_protocols + n) * sizeof(*protocols));
	n = 0;
	for (size_t m = 0; m < policy->n_modules; m++)
		for (size_t i = 0; i < policy->modules[m].n_probes; i++, n++)
			places[n] = (struct place){ &policy->modules[m].probes[i], n };
	qsort(places, n, sizeof(*places), place_compare);

	memcpy(protocols, policy->protocols, policy->n_protocols * sizeof(*protocols));
	policy->protocols = protocols;
	for (size_t i = 0; i < n; i++) {
		struct module_probe *probe = places[i].probe;
		probe->number = (uint32_t)policy->n_protocols++;
		protocols[probe->number] = (struct protocol){ .name = probe->name, .module = probe };
		index_add(compiler->protocols, probe->name, probe->number);
	}
}

/* ---- programs ---- */

/* Of the user that workers are, unless the configuration says otherwise: it reads what strangers sent. */
static void program_identifier_compile(struct compiler *compiler, const struct setting *group)
{
	struct identifier *identifier = &compiler->policy->identifiers[compiler->policy->n_identifiers++];
	struct values values;

	values_read(compiler->reader, &values, group, &sections[SECTION_IDENTIFIER]);
	identifier->mode = values_choice(&values, IDENTIFIER_MODE) == 0 ? IDENTIFIER_ONCE : IDENTIFIER_STREAM;
	identifier->timeout_us = (uint64_t)llround(values_number(&values, IDENTIFIER_TIMEOUT) * 1e6);
	identifier->program.stdio = STDIO_PIPE;
	if (values.value[IDENTIFIER_PROGRAM])
		identifier->program.argv = program_argv(compiler, values.value[IDENTIFIER_PROGRAM], "program");
	program_unprivileged(compiler, &identifier->program);
	program_identity(
		compiler, &identifier->program, values.value[IDENTIFIER_USER], values.value[IDENTIFIER_GROUP]);
}

/* ---- the list ---- */

void identifiers_compile(struct compiler *compiler, const struct setting *at)
{
	struct policy *policy = compiler->policy;
	size_t count = setting_count(at);
	struct naming naming = { compiler, index_new() };

	policy->identifiers = arena_alloc(compiler->arena, count * sizeof(*policy->identifiers));
	policy->modules = arena_alloc(compiler->arena, count * sizeof(*policy->modules));
	for (size_t i = 0; i < count; i++) {
		const struct setting *group = setting_item(at, i);
		struct module_use *use = &policy->modules[policy->n_modules];
		if (setting_find(group, PROGRAM_KEY)) {
			program_identifier_compile(compiler, group);
			continue;
		}
		if (!setting_find(group, MODULE_KEY)) {
			compile_error(compiler, group,
				"an identifier with neither `" PROGRAM_KEY "' nor `" MODULE_KEY
				"', expected one of them");
			continue;
		}
		if (module_compile(&naming, use, group)) {
			policy->n_modules++;
			continue;
		}
		*use = (struct module_use){ 0 };
		compiler->protocols_missing = true;
	}
	index_free(naming.names);
	probes_append(compiler);
}

const char *policy_module_running(const struct policy *policy, uint32_t running, char *buf, size_t size)
{
	uint32_t place = running & ~MODULE_IN_INIT;

	if (running == 0)
		return NULL;
	if (running & MODULE_IN_INIT)
		snprintf(buf, size, "init of module %s",
			place < policy->n_modules ? policy->modules[place].path : "?");
	else
		snprintf(buf, size, "probe %s",
			place <= policy->n_protocols ? policy->protocols[place - 1].name : "?");
	for (size_t m = 0; !(running & MODULE_IN_INIT) && m < policy->n_modules; m++)
		for (size_t i = 0; i < policy->modules[m].n_probes; i++)
			if (policy->modules[m].probes[i].number == place - 1)
				snprintf(buf, size, "probe %s of module %s", policy->modules[m].probes[i].name,
					policy->modules[m].path);
	return buf;
}
