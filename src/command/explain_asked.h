/* The first bytes of a connection of the running usher, over its control socket. A worker that was taken over may have said what it likes:
 * nothing here has a byte that is not printable, and which file is read is what the master says. */
#pragma once

struct asked {
	const char *file, *listener, *phase;
	const char *service, *protocol; /* that it was decided for; NULL: none */
	char *words[2];                 /* the bytes in hex, and NULL */
	char *texts[6];                 /* that all of it lies in */
};

/* `socket` or the configuration `file` say where, else the usual place. 0, or the exit status after a message. */
int explain_asked_new(struct asked **ret, const char *id, const char *socket, const char *file);
void explain_asked_free(struct asked *asked); /* accepts NULL */
