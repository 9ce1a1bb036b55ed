/* A message of a worker that may have been taken over, as far as the master lets it come: what is no message is refused; of a request
 * for a program, the environment has known names and printable values, the limits count it, and nothing is left.
 *
 *     byte 0      the program's stdio; how many descriptors came; whether some were lost
 *     the rest    a message */
#include "fd.h"
#include "fuzz.h"
#include "program.h"
#include "program_table.h"
#include "spawn.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* In the place of the one that forks. */
int spawn_program(const struct spawn *spawn, pid_t *ret_pid)
{
	static const char *const names[] = { "PATH", "LANG", "TZ", "USER", "HOME", "SHELL", "LOGNAME", "PROTO",
		"TCPREMOTEIP", "TCPREMOTEPORT", "REMOTE_ADDR", "REMOTE_PORT", "TCPLOCALIP", "TCPLOCALPORT",
		"USHER_SERVICE", "USHER_PROTOCOL", "USHER_SNI" };

	for (char *const *entry = spawn->env; *entry; entry++) {
		bool known = false;
		size_t len = strcspn(*entry, "=");
		for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
			known |= strlen(names[i]) == len && memcmp(names[i], *entry, len) == 0;
		require(known && (*entry)[len] == '=');
		for (const char *c = *entry; *c; c++)
			require(*c >= ' ' && *c <= '~');
	}
	require(strcmp(spawn->argv[0], "/program") == 0);
	*ret_pid = 12345;
	return spawn->in >= 0 && spawn->greeting ? 0 : spawn->in < 0 ? -EBADF : 0;
}

static void program_take(enum stdio stdio, const struct message_spawn *request)
{
	static char *argv[] = { (char *)"/program", NULL };
	const struct program program = { .argv = argv, .stdio = stdio };
	int fds[2] = { -1, -1 }, client = open("/dev/null", O_RDWR | O_CLOEXEC);
	bool greeted = false;
	pid_t pid = 0;

	require(client >= 0);
	int error = program_start(&program, "service", request, client, fds, &pid, &greeted);
	require(error <= 0);
	fd_close(fds[0]);
	fd_close(fds[1]);
	fd_close(client);
}

static void limits_take(const struct message_spawn *request)
{
	const struct access access = {
		.max_connections = 8, .per_source = 2, .max_startups = 3, .max_startups_per_source = 1
	};
	struct program_table *table = program_table_new();
	struct program_end end;

	require(table != NULL);
	for (pid_t pid = 1; pid <= 4; pid++)
		if (!program_table_admit(table, "service", &access, &request->client, 1000000))
			require(program_table_add(table, pid, "service", &request->client, 0, 1000000) == 0);
	require(program_table_count(table) >= 1 && program_table_count(table) <= 3);
	for (pid_t pid = 1; pid <= 4; pid++)
		program_table_remove(table, pid, 0, 2000000, &end);
	require(program_table_count(table) == 0);
	program_table_free(table);
}

static void requires_sound(const struct message *message, size_t size, const struct ipc_fds *fds)
{
	require(message->kind < MESSAGE_KINDS && size == message_size(message->kind));
	if (message->kind != MESSAGE_SPAWN)
		return;
	require(message->number != 0 && fds->n <= 1 && (fds->n == 0 || message->spawn.program == PROGRAM_SERVICE));
	require(strlen(message->spawn.protocol) < sizeof(message->spawn.protocol));
	require(strlen(message->spawn.sni) < sizeof(message->spawn.sni));
	require(message->spawn.client.len <= sizeof(struct sockaddr_un));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct message message = { 0 };
	int fd_before = lowest_free_fd();

	if (size < 1 || size - 1 > sizeof(message))
		return 0;
	memcpy(&message, data + 1, size - 1);
	const struct ipc_fds fds = { .n = data[0] / 2 % 4, .lost = data[0] & 128 };
	if (!message_is_sound(&message, size - 1, &fds))
		return 0;
	requires_sound(&message, size - 1, &fds);
	if (message.kind != MESSAGE_SPAWN)
		return 0;
	program_take(data[0] % 2 ? STDIO_PIPE : STDIO_SOCKET, &message.spawn);
	limits_take(&message.spawn);
	require(lowest_free_fd() == fd_before);
	return 0;
}
