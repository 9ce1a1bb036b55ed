/* The control socket's server between clients of any manners and workers that may have been taken over: what they answer, and how
 * often, is their choice. Nothing is left of a client, and a client that is told anything is told whole lines.
 *
 * Input: steps. byte 0: what and who; byte 1: how much; then that many bytes. */
#include "control.h"
#include "fd.h"
#include "fuzz.h"
#include "log.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define CLIENTS 3

static char path[64];
static struct loop loop;
static struct control *control;
static const uint8_t *part; /* what a worker writes */
static size_t part_len;
static uint64_t last_number;

/* ---- the master ------------------------------------------------------------------------------------------------------ */

static int hook_status(void *context, FILE *to)
{
	fputs("{\"state\": \"serving\"}\n", to);
	return 0;
}

static int hook_live(void *context, const struct control_live *order, char *why, size_t size)
{
	require(order->seconds >= 1 && memchr(order->service, '\0', sizeof(order->service)));
	snprintf(why, size, "not here");
	return -ENOENT;
}

static int hook_backend(void *context, const struct control_backend *order, char *why, size_t size)
{
	require(*order->service && *order->address && order->weight <= 256);
	snprintf(why, size, "there is no service `%s'", order->service);
	return part_len % 2 ? -ENOENT : (int)part_len;
}

static unsigned hook_report(void *context, const struct message *request, int *files, bool *ret_missed)
{
	unsigned n = (unsigned)(part_len % 4);

	last_number = request->number;
	*ret_missed = part_len % 5 == 0;
	for (unsigned i = 0; i < n; i++) {
		files[i] = memfd_create("part", MFD_CLOEXEC);
		require(files[i] >= 0 && write(files[i], part, part_len) == (ssize_t)part_len);
	}
	return n;
}

static void hook_drain(void *context)
{
}

static int hook_reload(void *context)
{
	if (part_len % 3 == 1)
		control_reloaded(control, "it does not compile");
	return part_len % 3 == 2 ? -ESHUTDOWN : 0;
}

static void hook_log_level(void *context, unsigned level)
{
	require(level <= LEVEL_DEBUG);
}

static int hook_upgrade(void *context)
{
	if (part_len % 3 == 1)
		control_upgraded(control, "it does not start");
	return part_len % 3 == 2 ? -EBUSY : 0;
}

static int hook_reopen(void *context)
{
	return part_len % 2 ? -EACCES : 0;
}

static const struct control_hooks hooks = {
	.status = hook_status,
	.backends = hook_status,
	.settings = hook_status,
	.backend = hook_backend,
	.bans = hook_status,
	.live = hook_live,
	.report = hook_report,
	.drain = hook_drain,
	.reload = hook_reload,
	.log_level = hook_log_level,
	.reopen = hook_reopen,
	.upgrade = hook_upgrade,
};

/* ---- its loop -------------------------------------------------------------------------------------------------------- */

static void turn_end(struct task *task)
{
	loop_stop(&loop);
}

static void turn(void)
{
	struct task end = { .run = turn_end };

	loop.stopping = false;
	loop_defer(&loop, &end);
	loop_run(&loop);
}

/* ---- clients --------------------------------------------------------------------------------------------------------- */

static void client_connect(int *client)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	fd_close(*client);
	strcpy(address.sun_path, path);
	*client = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	require(*client >= 0);
	if (connect(*client, (struct sockaddr *)&address, sizeof(address)) < 0)
		*client = fd_close(*client);
}

static void client_read_all(int *client)
{
	char buffer[65536], last = '\n';

	for (ssize_t n; (n = recv(*client, buffer, sizeof(buffer), 0)) != -1 || errno != EAGAIN;) {
		if (n <= 0) {
			*client = fd_close(*client);
			break;
		}
		last = buffer[n - 1];
	}
	require(last == '\n' || part_len); /* a worker's lines are its own affair */
}

static void step(int clients[CLIENTS], uint8_t what, const uint8_t *bytes, size_t len)
{
	int *client = &clients[what / 8 % CLIENTS];
	int32_t error = 0;

	switch (what % 8) {
	case 0:
		client_connect(client);
		break;
	case 1:
	case 2:
		if (*client >= 0)
			(void)!send(*client, bytes, len, MSG_NOSIGNAL);
		if (what % 8 == 2 && *client >= 0)
			(void)!send(*client, "\n", 1, MSG_NOSIGNAL);
		break;
	case 3:
		memcpy(&error, bytes, len < sizeof(error) ? len : sizeof(error));
		control_reported(control, what & 64 ? last_number : len, what & 128 ? 0 : error);
		break;
	case 4:
		(what & 128 ? control_upgraded : control_reloaded)(control, what & 64 ? "wrong" : NULL);
		break;
	case 5:
		if (*client >= 0 && what & 64)
			shutdown(*client, SHUT_WR);
		else
			*client = fd_close(*client);
		break;
	case 6:
		part = bytes;
		part_len = len;
		break;
	case 7:
		if (*client >= 0)
			client_read_all(client);
		break;
	}
	turn();
}

static void remove_folder(void)
{
	*strrchr(path, '/') = '\0';
	(void)rmdir(path);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	strcpy(path, "/tmp/usher-fuzz-XXXXXX");
	require(mkdtemp(path) != NULL);
	strcat(path, "/control");
	atexit(remove_folder);
	log_setup(2, &(struct log_settings){ .level = LEVEL_ERROR });
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct policy policy = { .control = path, .control_mode = 0600 };
	int clients[CLIENTS] = { -1, -1, -1 }, fd_before = lowest_free_fd();

	part = NULL;
	part_len = 0;
	require(loop_init(&loop) == 0);
	require(control_new(&control, &loop, &hooks, NULL) == 0);
	require(control_listen(control, &policy) == 0);
	while (size >= 2) {
		size_t len = data[1] < size - 2 ? data[1] : size - 2;
		step(clients, data[0], data + 2, len);
		data += 2 + len;
		size -= 2 + len;
	}
	for (size_t i = 0; i < CLIENTS; i++)
		fd_close(clients[i]);
	turn();
	control_free(control);
	loop_fini(&loop);
	require(lowest_free_fd() == fd_before);
	return 0;
}
