/* The shapes of messages, and whether what came has one. Refuses everything else, whoever sent it. Owns nothing: descriptors that
 * came are the caller's. */
#include "message.h"
#include "log.h"
#include "name_cache.h"
#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>

#define ERROR_MAX 4095 /* MAX_ERRNO of the kernel */

static const struct shape {
	bool from_worker;
	bool numbered;
	uint8_t fds; /* at most */
	uint16_t payload;
} shapes[MESSAGE_KINDS] = {
	[MESSAGE_READY] = { true, false, 0, 0 },
	[MESSAGE_HELD] = { true, true, 0, 0 },
	[MESSAGE_REPORTED] = { true, true, 0, sizeof(struct message_reported) },
	[MESSAGE_ASK_ANEW] = { true, false, 0, sizeof(struct message_ask_anew) },
	[MESSAGE_FIND_NAME] = { true, false, 0, sizeof(struct message_find_name) },
	[MESSAGE_SPAWN] = { true, true, 1, sizeof(struct message_spawn) },
	[MESSAGE_IDENTIFY] = { true, true, 0, sizeof(struct message_identify) },
	[MESSAGE_CONNECT] = { true, true, 0, sizeof(struct message_connect) },
	[MESSAGE_START] = { true, true, 0, sizeof(struct message_start) },
	[MESSAGE_WANT_SOCKETS] = { true, true, 0, sizeof(struct message_want_sockets) },
	[MESSAGE_WANT_CLIENT] = { true, true, 0, sizeof(struct message_want_client) },
	[MESSAGE_FORWARD] = { true, true, 0, sizeof(struct message_forward) },
	[MESSAGE_ANSWER] = { false, true, IPC_FDS_MAX, sizeof(struct message_answer) },
	[MESSAGE_VERDICT] = { false, true, 0, sizeof(struct message_verdict) },
	[MESSAGE_EXITED] = { false, true, 0, sizeof(struct message_exited) },
	[MESSAGE_LOG] = { false, false, 0, sizeof(struct message_log) },
	[MESSAGE_REPORT] = { false, true, 1, sizeof(struct message_report) },
	[MESSAGE_HOLD] = { false, true, 0, sizeof(struct message_hold) },
	[MESSAGE_RESUME] = { false, false, 0, sizeof(struct message_resume) },
	[MESSAGE_RECEIVE] = { false, false, 0, 0 },
	[MESSAGE_ADOPT] = { false, false, 1, sizeof(struct message_peer) },
	[MESSAGE_MIGRATE] = { false, false, 1, sizeof(struct message_peer) },
	[MESSAGE_DRAIN] = { false, false, 0, 0 },
	[MESSAGE_STOP] = { false, false, 0, 0 },
};

size_t message_size(enum message_kind kind)
{
	return offsetof(struct message, spawn) + shapes[kind].payload;
}

#define text_ends(text) (memchr(text, '\0', sizeof(text)) != NULL)

static bool error_is_sound(int32_t error)
{
	return error <= 0 && error >= -ERROR_MAX;
}

static bool spawn_is_sound(const struct message_spawn *spawn, const struct ipc_fds *fds)
{
	bool is_service = spawn->program == PROGRAM_SERVICE;

	return (is_service || spawn->program == PROGRAM_ACCESS) && (is_service || (fds->n == 0 && !fds->lost)) &&
		address_is_valid(&spawn->client) && address_is_valid(&spawn->local) && text_ends(spawn->protocol) &&
		text_ends(spawn->sni) && spawn->greets <= 1 && spawn->is_datagram <= 1;
}

static bool want_client_is_sound(const struct message_want_client *want)
{
	return address_is_valid(&want->client) && address_is_valid(&want->local) && address_is_ip(&want->client) &&
		want->client.sa.sa_family == want->local.sa.sa_family && address_port(&want->client) != 0;
}

static bool find_name_is_sound(const struct message_find_name *find)
{
	char folded[NAME_MAX_LEN + 1];

	return text_ends(find->name) && name_fold(find->name, folded) && strcmp(folded, find->name) == 0;
}

static bool payload_is_sound(const struct message *message, const struct ipc_fds *fds)
{
	switch (message->kind) {
	case MESSAGE_SPAWN:
		return spawn_is_sound(&message->spawn, fds);
	case MESSAGE_FIND_NAME:
		return find_name_is_sound(&message->find_name);
	case MESSAGE_WANT_SOCKETS:
		return (message->want_sockets.family == AF_INET || message->want_sockets.family == AF_INET6) &&
			(message->want_sockets.type == SOCK_STREAM || message->want_sockets.type == SOCK_DGRAM);
	case MESSAGE_WANT_CLIENT:
		return want_client_is_sound(&message->want_client);
	case MESSAGE_FORWARD:
		return message->forward.is_missing <= 1 && address_is_valid(&message->forward.client) &&
			address_is_valid(&message->forward.local);
	case MESSAGE_ANSWER:
		return error_is_sound(message->answer.error) && message->answer.greeted <= 1 &&
			text_ends(message->answer.refused) && (message->answer.error == 0 || fds->n == 0);
	case MESSAGE_REPORTED:
		return error_is_sound(message->reported.error);
	case MESSAGE_VERDICT:
		return message->verdict.admits <= 1;
	case MESSAGE_RESUME:
		return message->resume.by_another <= 1;
	case MESSAGE_LOG:
		return message->log.level <= LEVEL_DEBUG;
	case MESSAGE_REPORT:
		return message->report.about < REPORTS;
	default:
		return true;
	}
}

bool message_is_sound(const struct message *message, size_t len, const struct ipc_fds *fds)
{
	if (len < offsetof(struct message, spawn) || message->kind >= MESSAGE_KINDS)
		return false;
	const struct shape *shape = &shapes[message->kind];
	return len == message_size(message->kind) && (message->number != 0) == shape->numbered &&
		fds->n <= shape->fds && (!fds->lost || shape->fds > 0) && payload_is_sound(message, fds);
}

int message_send(int channel, const struct message *message, const int *fds, size_t n_fds)
{
	assert(message->kind < MESSAGE_KINDS && n_fds <= shapes[message->kind].fds);
	assert((message->number != 0) == shapes[message->kind].numbered);
	return ipc_send(channel, message, message_size(message->kind), fds, n_fds);
}

int message_receive(int channel, bool from_worker, struct message *ret, struct ipc_fds *ret_fds)
{
	ssize_t len = ipc_receive(channel, ret, sizeof(*ret), ret_fds);

	if (len == 0 || (len < 0 && len != -EMSGSIZE)) {
		ipc_close_fds(ret_fds);
		return (int)len;
	}
	if (len > 0 && message_is_sound(ret, (size_t)len, ret_fds) && shapes[ret->kind].from_worker == from_worker)
		return 1;
	ipc_close_fds(ret_fds);
	return -EBADMSG;
}
