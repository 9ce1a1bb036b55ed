/* The keys `bandwidth` and `total_bandwidth` of a service: rates of bytes, both directions alike or apart.
 *
 * Refuses them where usher relays nothing, and more services with `total_bandwidth` than workers have shared buckets for. */
#include "compile.h"
#include "pace_table.h"
#include <stdlib.h>
#include <string.h>

#define RATE_LEAST    1000 /* bytes a second */
#define NUMBER_DIGITS 9

/* Bytes a second; 0: it is none, and was complained of. */
static uint64_t rate_read(struct compiler *compiler, const struct setting *at, const char *key)
{
	static const struct {
		const char *name;
		double bytes;
	} units[] = { { "B/s", 1 }, { "kB/s", 1e3 }, { "MB/s", 1e6 }, { "GB/s", 1e9 }, { "KiB/s", 1024 },
		{ "MiB/s", 1048576 }, { "GiB/s", 1073741824 }, { "kbit/s", 125 }, { "Mbit/s", 125e3 },
		{ "Gbit/s", 125e6 } };
	const char *text = setting_text(at);
	size_t digits = strspn(text, "0123456789");
	const char *unit = text + digits + strspn(text + digits, " ");

	for (size_t i = 0; digits && digits <= NUMBER_DIGITS && i < sizeof(units) / sizeof(units[0]); i++) {
		double rate = (double)strtoul(text, NULL, 10) * units[i].bytes;
		if (strcmp(unit, units[i].name) == 0 && rate >= RATE_LEAST && rate <= (double)BYTE_RATE_MOST)
			return (uint64_t)rate;
	}
	compile_error(compiler, at,
		"`%s' is \"%.80s\", expected a whole number and a unit such as \"10 MB/s\", \"512 KiB/s\" or "
		"\"100 Mbit/s\", from 1 kB/s to 100 GB/s",
		key, text);
	return 0;
}

static struct byte_rate rate_of(uint64_t each_s)
{
	uint64_t burst = each_s / 10;

	return (struct byte_rate){ each_s, burst > BYTE_BURST_LEAST ? burst : BYTE_BURST_LEAST };
}

static void directions_read(
	struct compiler *compiler, const struct setting *at, const char *key, struct bandwidth *ret)
{
	struct values values;

	values_read(compiler->reader, &values, at, &sections[SECTION_BANDWIDTH]);
	const struct setting *up = values.value[BANDWIDTH_UP], *down = values.value[BANDWIDTH_DOWN];
	if (!values.given[BANDWIDTH_UP] && !values.given[BANDWIDTH_DOWN])
		compile_error(compiler, at, "`%s' has neither `up' nor `down', expected a rate for one of them", key);
	if (up)
		ret->up = rate_of(rate_read(compiler, up, key));
	if (down)
		ret->down = rate_of(rate_read(compiler, down, key));
	ret->text = arena_printf(compiler->arena, "%s%s%s%s%s", up ? setting_text(up) : "", up ? " up" : "",
		up && down ? ", " : "", down ? setting_text(down) : "", down ? " down" : "");
}

static void bandwidth_read(
	struct compiler *compiler, const struct setting *at, const char *key, struct bandwidth *ret)
{
	if (setting_is_group(at)) {
		directions_read(compiler, at, key, ret);
	} else if (!setting_text(at)) {
		compile_error(compiler, at, "`%s' is a list, expected one rate or { up = ...; down = ...; }", key);
	} else {
		ret->up = ret->down = rate_of(rate_read(compiler, at, key));
		ret->text = arena_strdup(compiler->arena, setting_text(at));
	}
}

void bandwidth_compile(struct compiler *compiler, uint32_t number, const struct values *values)
{
	struct service *service = &compiler->policy->services[number];

	for (size_t key = SERVICE_BANDWIDTH; key <= SERVICE_TOTAL_BANDWIDTH; key++) {
		const struct setting *at = values->value[key];
		const char *name = values->section->keys[key].name;
		if (!at)
			continue;
		if (!service_is_relayed(service))
			compile_error(compiler, at,
				"`%s' of service `%s' goes with `connect' only, and with `exec' on pipes or a "
				"terminal",
				name, service->name);
		bandwidth_read(compiler, at, name,
			key == SERVICE_BANDWIDTH ? &service->bandwidth : &service->total_bandwidth);
	}
	if (service->total_bandwidth.text && ++compiler->n_paced_services == PACE_SERVICES_MAX + 1)
		compile_error(compiler, values->value[SERVICE_TOTAL_BANDWIDTH],
			"more than %u services have `total_bandwidth', expected no more", PACE_SERVICES_MAX);
}
