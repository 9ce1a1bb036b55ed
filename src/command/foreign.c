/* Serving under another program's configuration. Owns nothing: the native text is the policy's. */
#include "foreign.h"
#include "arena.h"
#include "control_client.h"
#include "log.h"
#include "writer.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Whatever names a line of the policy from here on names one of the foreign file. */
static void lines_translate(struct policy *policy, const struct native *text)
{
	for (size_t i = 0; i < policy->n_listeners; i++)
		policy->listeners[i].line = native_line(text, policy->listeners[i].line);
	for (size_t i = 0; i < policy->n_services; i++)
		policy->services[i].line = native_line(text, policy->services[i].line);
}

/* Other programs have no control socket, and nothing to say where it should be: the option, else in the folder that systemd made
 * for the service, else for root in the usual place. NULL: nowhere. */
static char *control_place(const char *option)
{
	const char *folder = getenv("RUNTIME_DIRECTORY");
	char *path = NULL;

	if (option)
		return *option ? writer_absolute(option) : NULL;
	if (folder && *folder == '/') {
		if (asprintf(&path, "%.*s/control.sock", (int)strcspn(folder, ":"), folder) < 0)
			abort();
	} else if (geteuid() == 0) {
		path = writer_absolute(DEFAULT_CONTROL);
	}
	return path;
}

/* Behind the last line, so that the others keep their numbers. */
static void control_append(struct native *text, const char *path)
{
	struct writer *writer = writer_new();
	struct native setting = { 0 };
	char *both;

	writer_setting(writer, "control", path);
	writer_finish(writer, &setting);
	if (asprintf(&both, "%s%s\n", text->text, setting.text) < 0)
		abort();
	free(text->text);
	text->text = both;
	native_fini(&setting);
}

static int foreign_translate(const struct foreign *foreign, struct native *ret, struct complaints *complaints)
{
	int error = foreign->translate(foreign->options, ret, foreign->file, complaints);
	char *path = error ? NULL : control_place(foreign->control);

	if (path)
		control_append(ret, path);
	free(path);
	return error;
}

/* The text is there, too, where only the policy refuses it. */
static int foreign_compile(const struct foreign *foreign, const struct policy_options *options, struct native *text,
	struct policy **ret, struct complaints *complaints)
{
	struct complaints own = { 0 };

	int error = foreign_translate(foreign, text, complaints);
	if (error < 0)
		return error;
	error = policy_load_text(ret, foreign->file, text->text, options, &own);
	native_complain(text, &own, complaints);
	complaints_fini(&own);
	return error;
}

int foreign_load(const void *context, struct arena *arena, struct policy **ret, struct complaints *complaints)
{
	const struct foreign *foreign = context;
	struct native text = { 0 };

	int error = foreign_compile(foreign,
		&(struct policy_options){ .arena = arena, .process_ends = true, .keep_settings = true }, &text, ret,
		complaints);
	if (error == 0) {
		lines_translate(*ret, &text);
		(*ret)->text = arena_strdup(arena, text.text);
	}
	native_fini(&text);
	return error;
}

void foreign_tell(const struct policy *policy)
{
	log_notice("the configuration of %s, as usher's own:", policy->file);
	for (const char *at = policy->text; *at;) {
		size_t indent = strspn(at, "\t"); /* which a log would show as an escape */
		at += indent;
		size_t len = strcspn(at, "\n");
		if (len)
			log_notice("%*s%.*s", (int)(4 * indent), "", (int)len, at);
		at += len + (at[len] == '\n');
	}
}

int foreign_print(const struct foreign *foreign)
{
	struct complaints complaints = { 0 };
	struct native text = { 0 };
	struct policy *policy = NULL;

	int error = foreign_compile(foreign, &(struct policy_options){ 0 }, &text, &policy, &complaints);
	if (text.text)
		fputs(text.text, stdout);
	bool written = fflush(stdout) == 0;
	complaints_print(&complaints, stderr);
	complaints_fini(&complaints);
	policy_free(policy);
	native_fini(&text);
	return error < 0 ? 2 : written ? 0 : 1;
}
