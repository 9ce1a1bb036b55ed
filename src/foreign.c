/* Serving under another program's configuration. Owns nothing: the native text is the policy's. */
#include "foreign.h"
#include "arena.h"
#include "log.h"
#include <string.h>

/* Whatever names a line of the policy from here on names one of the foreign file. */
static void lines_translate(struct policy *policy, const struct native *text)
{
	for (size_t i = 0; i < policy->n_listeners; i++)
		policy->listeners[i].line = native_line(text, policy->listeners[i].line);
	for (size_t i = 0; i < policy->n_services; i++)
		policy->services[i].line = native_line(text, policy->services[i].line);
}

int foreign_load(const void *context, struct arena *arena, struct policy **ret, struct complaints *complaints)
{
	const struct foreign *foreign = context;
	struct native text = { 0 };
	struct complaints own = { 0 };

	int error = foreign->translate(foreign->options, &text, foreign->file, complaints);
	if (error < 0)
		return error;
	error = policy_load_text(ret, foreign->file, text.text,
		&(struct policy_options){ .arena = arena, .process_ends = true }, &own);
	native_complain(&text, &own, complaints);
	complaints_fini(&own);
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

	int error = foreign->translate(foreign->options, &text, foreign->file, &complaints);
	if (error == 0)
		fputs(text.text, stdout);
	bool written = fflush(stdout) == 0;
	complaints_print(&complaints, stderr);
	complaints_fini(&complaints);
	native_fini(&text);
	return error < 0 ? 2 : written ? 0 : 1;
}
