/* The key `fields' of `log': which keys the line of a session has, and in what order. Refuses keys that there are not, and one that is there
 * twice. What is compiled is in the policy's arena. */
#include "log_fields.h"
#include "compile.h"
#include <string.h>

const char *const log_field_names[LOG_FIELDS] = {
	[FIELD_ID] = "id",
	[FIELD_CLIENT] = "client",
	[FIELD_VIA] = "via",
	[FIELD_LISTENER] = "listener",
	[FIELD_PROTOCOL] = "protocol",
	[FIELD_KNOWN_BY] = "known_by",
	[FIELD_SNI] = "sni",
	[FIELD_ALPN] = "alpn",
	[FIELD_HOST] = "host",
	[FIELD_SERVICE] = "service",
	[FIELD_DELIVERY] = "delivery",
	[FIELD_TO] = "to",
	[FIELD_DECIDED_MS] = "decided_ms",
	[FIELD_SENT] = "sent",
	[FIELD_BYTES_UP] = "bytes_up",
	[FIELD_BYTES_DOWN] = "bytes_down",
	[FIELD_DATAGRAMS_UP] = "datagrams_up",
	[FIELD_DATAGRAMS_DOWN] = "datagrams_down",
	[FIELD_TOTAL_MS] = "total_ms",
	[FIELD_END] = "end",
	[FIELD_RULE] = "rule",
	[FIELD_ERROR] = "error",
};

static enum log_field field_of(const char *name)
{
	int field = 0;

	while (field < LOG_FIELDS && strcmp(log_field_names[field], name) != 0)
		field++;
	return (enum log_field)field;
}

static void unknown_complain(struct compiler *compiler, const struct setting *at)
{
	char names[512];
	size_t len = 0;

	for (int field = 0; field < LOG_FIELDS; field++)
		len += (size_t)snprintf(
			names + len, sizeof(names) - len, "%s%s", field ? ", " : "", log_field_names[field]);
	compile_error(compiler, at, "`fields' has `%s', expected keys of the log: %s", setting_text(at), names);
}

void log_fields_compile(struct compiler *compiler, const struct setting *at)
{
	struct policy *policy = compiler->policy;
	bool is_chosen[LOG_FIELDS] = { false };
	size_t n = setting_count(at), kept = 0;
	uint8_t *fields = arena_alloc(compiler->arena, at && n ? n : LOG_FIELDS);

	for (size_t i = 0; i < n; i++) {
		const struct setting *item = setting_item(at, i);
		enum log_field field = field_of(setting_text(item));
		if (field == LOG_FIELDS) {
			unknown_complain(compiler, item);
			continue;
		}
		if (is_chosen[field]) {
			compile_error(compiler, item, "`fields' has `%s' twice", setting_text(item));
			continue;
		}
		is_chosen[field] = true;
		fields[kept++] = (uint8_t)field;
	}
	if (!at)
		for (; kept < LOG_FIELDS; kept++)
			fields[kept] = (uint8_t)kept;
	policy->log_fields = fields;
	policy->n_log_fields = kept;
}
