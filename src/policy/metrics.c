/* The `metrics` key: where an exporter answers over HTTP, and whether with a page for people as well. Refuses names (an address to bind
 * must not depend on a name server), port 0, datagrams, and the address of a listener. Texts are in the policy's arena. */
#include "compile.h"
#include <errno.h>

#define ADDRESS_EXPECTED "\"127.0.0.1:9443\", \"[::1]:9443\" or \"unix:/path\""

static bool address_compile(struct compiler *compiler, const struct setting *at)
{
	struct metrics_policy *metrics = &compiler->policy->metrics;
	const char *text = setting_text(at);
	int error = address_parse(&metrics->address, text);

	if (error == -ENAMETOOLONG)
		compile_error(compiler, at, "path of `%s' is too long, expected at most 107 bytes", text);
	else if (error < 0)
		compile_error(compiler, at, "`%s' is no address for metrics, expected " ADDRESS_EXPECTED, text);
	else if (address_is_ip(&metrics->address) && address_port(&metrics->address) == 0)
		compile_error(compiler, at, "`%s' has port 0, expected 1 to 65535", text);
	else
		metrics->text = arena_strdup(compiler->arena, text);
	return metrics->text;
}

void metrics_compile(struct compiler *compiler, const struct setting *at)
{
	struct policy *policy = compiler->policy;
	struct values values = { .section = &sections[SECTION_METRICS] };
	unsigned mode = 0660;

	if (!at)
		return;
	if (setting_is_group(at))
		values_read(compiler->reader, &values, at, &sections[SECTION_METRICS]);
	else
		values.value[METRICS_LISTEN] = at;
	const struct setting *listen = values.value[METRICS_LISTEN];
	if (!listen || !setting_text(listen)) {
		compile_error(compiler, at, "`metrics' without `listen', expected listen = " ADDRESS_EXPECTED);
		return;
	}
	if (!address_compile(compiler, listen))
		return;
	if (values_mode(&values, METRICS_MODE, &mode) && address_is_ip(&policy->metrics.address))
		compile_error(compiler, values.value[METRICS_MODE],
			"`mode' of metrics on `%s', expected only on \"unix:/path\"", policy->metrics.text);
	policy->metrics.mode = (mode_t)mode;
	policy->metrics.page = values_switch(&values, METRICS_PAGE, 1, 1);
	policy->metrics.line = setting_line(listen);
	for (size_t i = 0; i < policy->n_listeners; i++)
		if (policy->listeners[i].transport == TRANSPORT_STREAM &&
			address_equal(&policy->listeners[i].address, &policy->metrics.address))
			compile_error(compiler, listen, "metrics on `%s', which is a listener already",
				policy->metrics.text);
}
