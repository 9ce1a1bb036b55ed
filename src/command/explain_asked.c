/* Asks the running usher for what it kept of a connection. Refuses an answer that is no such object. Owns copies of what it says. */
#include "explain_asked.h"
#include "control_client.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

static const char not_ours[] = "usher: the control socket does not answer as an usher of this version does\n";

enum asked_text { ASKED_FILE, ASKED_LISTENER, ASKED_PHASE, ASKED_SERVICE, ASKED_PROTOCOL, ASKED_BYTES };

/* A copy that a terminal can be shown; NULL: there is none. */
static char *printable_new(const json_t *answer, const char *key)
{
	const char *text = json_string_value(json_object_get(answer, key));
	char *copy = text ? strdup(text) : NULL;

	for (char *c = copy; c && *c; c++)
		if (*c < ' ' || *c > '~')
			*c = '?';
	return copy;
}

/* NULL, after a message. To be given back. */
static json_t *ask(const char *path, const char *request)
{
	char *text = control_ask(path, request);

	if (!text)
		return NULL;
	json_t *answer = json_loads(text, JSON_DISABLE_EOF_CHECK, NULL);
	free(text);
	char *error = printable_new(answer, "error");
	if (error)
		fprintf(stderr, "usher: %s\n", error);
	else if (!answer)
		fputs(not_ours, stderr);
	if (error)
		json_decref(answer);
	bool failed = error;
	free(error);
	return failed ? NULL : answer;
}

/* What the master says, of what workers say. */
static void asked_take(struct asked *asked, const json_t *status, const json_t *evidence)
{
	asked->texts[ASKED_FILE] = printable_new(status, "file");
	asked->texts[ASKED_LISTENER] = printable_new(evidence, "listener");
	asked->texts[ASKED_PHASE] = printable_new(evidence, "phase");
	asked->texts[ASKED_SERVICE] = printable_new(evidence, "service");
	asked->texts[ASKED_PROTOCOL] = printable_new(evidence, "protocol");
	asked->texts[ASKED_BYTES] = printable_new(evidence, "bytes");
	asked->file = asked->texts[ASKED_FILE];
	asked->listener = asked->texts[ASKED_LISTENER];
	asked->phase = asked->texts[ASKED_PHASE];
	asked->service = asked->texts[ASKED_SERVICE];
	asked->protocol = asked->texts[ASKED_PROTOCOL];
	asked->words[0] = asked->texts[ASKED_BYTES];
}

int explain_asked_new(struct asked **ret, const char *id, const char *socket, const char *file)
{
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)], request[64];
	struct asked *asked = calloc(1, sizeof(*asked));

	if (!asked)
		return 1;
	*ret = asked;
	if (control_path(socket, file, path, sizeof(path)) < 0)
		return 2;
	snprintf(request, sizeof(request), "evidence %s", id);
	json_t *status = ask(path, "status");
	json_t *evidence = status ? ask(path, request) : NULL;
	bool answered = evidence;
	if (answered)
		asked_take(asked, status, evidence);
	json_decref(status);
	json_decref(evidence);
	if (!answered)
		return 1;
	if (asked->file && asked->listener && asked->phase && asked->words[0])
		return 0;
	fputs(not_ours, stderr);
	return 1;
}

void explain_asked_free(struct asked *asked)
{
	if (!asked)
		return;
	for (size_t i = 0; i < sizeof(asked->texts) / sizeof(asked->texts[0]); i++)
		free(asked->texts[i]);
	free(asked);
}
