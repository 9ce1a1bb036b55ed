/* What came of a check of a backend, in one word: which result, and more of it above that. */
#pragma once
#include <stddef.h>
#include <stdint.h>

enum check_result {
	CHECK_NONE, /* not to be judged: something was missing here, not there */
	CHECK_PASSED,
	CHECK_ERROR,      /* of the connection; more: the errno */
	CHECK_UNANSWERED, /* no connection within `timeout` */
	CHECK_SILENT,     /* a connection, and nothing came back */
	CHECK_UNFINISHED, /* something did, and not all that is expected */
	CHECK_CLOSED,     /* before that */
	CHECK_UNEXPECTED, /* it is something else */
	CHECK_STATUS,     /* an HTTP status that is not expected; more: the status */
	CHECK_TLS,        /* no handshake */
	CHECK_RESULTS
};

static inline uint32_t check_word(enum check_result result, unsigned more)
{
	return (uint32_t)result | (uint32_t)more << 8;
}

static inline enum check_result check_word_result(uint32_t word)
{
	return (word & 255) < CHECK_RESULTS ? (enum check_result)(word & 255) : CHECK_NONE;
}

/* "HTTP status 503"; of one that passed, "passed". Of a word that none has written too. */
#define CHECK_TEXT_MAX 96
const char *check_word_text(uint32_t word, char buf[CHECK_TEXT_MAX]);
