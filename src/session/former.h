/* What a session was under another worker's policy, which this one does not have: for the log and for people. */
#pragma once
#include "log.h"
#include "target.h"

enum session_text {
	TEXT_LISTENER,
	TEXT_SERVICE, /* from here on perhaps none */
	TEXT_PROTOCOL,
	TEXT_BACKEND, /* for the log: where it went */
	TEXT_SNI,
	TEXT_ALPN,
	TEXT_HOST,
	SESSION_TEXTS
};

struct former {
	const char *text[SESSION_TEXTS]; /* NULL: none */
	enum delivery delivery;
	enum log_level log_level;
	char texts[];
};

/* Copies the texts. NULL: no memory. */
struct former *former_new(const char *const text[SESSION_TEXTS], enum delivery delivery, enum log_level log_level);
