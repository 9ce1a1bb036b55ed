/* Clients that ask for TLS within another protocol (STARTTLS): the conversation up to the ClientHello, on the server's side with the client,
 * and later on the client's side with the server.
 *
 *     client               usher                server
 *       | -- asks for TLS --> |                    |
 *       | <---- agrees ------ |                    |     starttls_hear_client()
 *       | -- ClientHello ---> |                    |     its names say which server
 *       |                     | -- asks for TLS -> |
 *       |                     | <---- agrees ----- |     starttls_hear_server()
 *       | <----------- TLS, end to end ----------> |
 *
 * Pure: bytes in, bytes out. What is said does not depend on how the bytes were cut. A message has at most STARTTLS_MESSAGE_MAX bytes, a
 * conversation at most STARTTLS_TURNS_MAX messages of either side. */
#pragma once
#include "probe.h"

enum starttls_kind {
	STARTTLS_POSTGRES,
	STARTTLS_LDAP,
	STARTTLS_XMPP,
	STARTTLS_SMTP,
	STARTTLS_IMAP,
	STARTTLS_POP3,
	STARTTLS_FTP,
	STARTTLS_KINDS,
	STARTTLS_NONE = STARTTLS_KINDS
};

#define STARTTLS_MESSAGE_MAX 4096
#define STARTTLS_TURNS_MAX   64
#define STARTTLS_SAY_MAX     1024
#define STARTTLS_NAME_MAX    255

enum starttls_step {
	STARTTLS_MORE,    /* nothing was taken: the message is not whole */
	STARTTLS_ON,      /* a message was taken, and another one follows */
	STARTTLS_TLS,     /* a message was taken, and both sides agree: what follows is TLS */
	STARTTLS_REFUSED, /* it is no message of this conversation, or the other side does not want TLS */
};

struct starttls {
	enum starttls_kind kind;
	bool is_agreed; /* with the client */
	uint8_t state;  /* of the kind's own */
	uint8_t turns;
	bool in_reply;                    /* of several lines, */
	bool offers_tls;                  /* in one of which the server has offered TLS */
	bool of_servers;                  /* the stream is one between servers */
	char name[STARTTLS_NAME_MAX + 1]; /* the server's, as the client has called it */
	uint16_t say_len;                 /* what is to be said now */
	char say[STARTTLS_SAY_MAX];
};

/* The name of the protocol, as a built-in probe has it, and that probe's place in probes[]. */
const char *starttls_name(enum starttls_kind kind);
uint32_t starttls_protocol(enum starttls_kind kind);

/* Of a client's first bytes: it asks for TLS, or may yet do so. */
const struct probe *starttls_probe(enum starttls_kind kind);

/* The server speaks first: a client may wait for it. */
bool starttls_speaks_first(enum starttls_kind kind);

/* The kind whose probe that is; STARTTLS_NONE: it is none of these. */
enum starttls_kind starttls_of_probe(const struct probe *probe);

/* With a client that has come, and to a server that was connected to: there may be something to say at once. */
void starttls_meet_client(struct starttls *starttls, enum starttls_kind kind);
void starttls_meet_server(struct starttls *starttls);

/* One message of the other side, from its first byte on. Whatever the step, something may be to be said. */
enum starttls_step starttls_hear_client(
	struct starttls *starttls, const uint8_t *bytes, size_t len, size_t *ret_taken);
enum starttls_step starttls_hear_server(
	struct starttls *starttls, const uint8_t *bytes, size_t len, size_t *ret_taken);
