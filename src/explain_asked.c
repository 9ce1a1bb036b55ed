/* Asks the running usher for what it kept of a connection. Refuses an answer that is no such object. Owns the answer. */
#include "explain_asked.h"
#include "control_client.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/un.h>

static const char *text_of(const json_t *answer, const char *key)
{
	return json_string_value(json_object_get(answer, key));
}

static int asked_fill(struct asked *asked)
{
	const json_t *answer = asked->answer;
	const char *error = text_of(answer, "error");

	if (error) {
		fprintf(stderr, "usher: %s\n", error);
		return 1;
	}
	asked->file = text_of(answer, "file");
	asked->listener = text_of(answer, "listener");
	asked->phase = text_of(answer, "phase");
	asked->service = text_of(answer, "service");
	asked->protocol = text_of(answer, "protocol");
	asked->words[0] = (char *)text_of(answer, "bytes"); /* read only, as the words of a command line */
	if (asked->file && asked->listener && asked->phase && asked->words[0])
		return 0;
	fputs("usher: the control socket does not answer as an usher of this version does\n", stderr);
	return 1;
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
	char *answer = control_ask(path, request);
	if (!answer)
		return 1;
	asked->answer = json_loads(answer, 0, NULL);
	free(answer);
	return asked_fill(asked);
}

void explain_asked_free(struct asked *asked)
{
	if (!asked)
		return;
	json_decref(asked->answer);
	free(asked);
}
