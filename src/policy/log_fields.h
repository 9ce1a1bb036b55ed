/* Keys of the log line of a session, by which an operator chooses what is in it. usher(8) explains each. */
#pragma once

enum log_field {
	FIELD_ID,
	FIELD_CLIENT,
	FIELD_VIA,
	FIELD_LISTENER,
	FIELD_PROTOCOL,
	FIELD_KNOWN_BY,
	FIELD_SNI,
	FIELD_ALPN,
	FIELD_HOST,
	FIELD_SERVICE,
	FIELD_DELIVERY,
	FIELD_TO,
	FIELD_DECIDED_MS,
	FIELD_SENT,
	FIELD_BYTES_UP,
	FIELD_BYTES_DOWN,
	FIELD_DATAGRAMS_UP,
	FIELD_DATAGRAMS_DOWN,
	FIELD_TOTAL_MS,
	FIELD_END,
	FIELD_RULE,
	FIELD_ERROR,
	LOG_FIELDS
};

extern const char *const log_field_names[LOG_FIELDS]; /* "decided_ms" */
