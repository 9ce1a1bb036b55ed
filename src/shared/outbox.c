/* Keeps messages in order until the channel takes them. An event tells when the peer has read; nothing tells when the kernel has
 * memory again or fewer descriptors are under way, so that is tried every RETRY_US. Refuses to lose a message in silence:
 * the caller hears of it. Owns the copies; the channel is the caller's. */
#include "outbox.h"
#include "fd.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#define RETRY_US 20000

struct letter {
	struct letter *next;
	struct message message;
	size_t n_fds;
	int fds[IPC_FDS_MAX];
};

static void outbox_retry(struct timer *timer)
{
	struct outbox *outbox = container_of(timer, struct outbox, retry);

	outbox_flush(outbox);
	if (!outbox->first && outbox->emptied)
		outbox->emptied(outbox);
}

void outbox_init(struct outbox *outbox, struct loop *loop, int channel, void (*emptied)(struct outbox *outbox))
{
	*outbox = (struct outbox){
		.loop = loop, .channel = channel, .retry = { .fired = outbox_retry }, .emptied = emptied
	};
	outbox->last = &outbox->first;
}

bool outbox_waits(const struct outbox *outbox)
{
	return outbox->first != NULL;
}

static void letter_free(struct letter *letter)
{
	for (size_t i = 0; i < letter->n_fds; i++)
		fd_close(letter->fds[i]);
	free(letter);
}

static int outbox_keep(struct outbox *outbox, const struct message *message, const int *fds, size_t n_fds)
{
	struct letter *letter = calloc(1, sizeof(*letter));

	if (!letter)
		return -ENOMEM;
	letter->message = *message;
	while (letter->n_fds < n_fds) {
		int copy = fcntl(fds[letter->n_fds], F_DUPFD_CLOEXEC, 3);
		if (copy < 0) {
			int error = -errno;
			letter_free(letter);
			return error;
		}
		letter->fds[letter->n_fds++] = copy;
	}
	*outbox->last = letter;
	outbox->last = &letter->next;
	return 0;
}

int outbox_send(struct outbox *outbox, const struct message *message, const int *fds, size_t n_fds)
{
	if (outbox->channel < 0)
		return -EPIPE;
	int error = outbox->first ? -EAGAIN : message_send(outbox->channel, message, fds, n_fds);
	if (!ipc_error_passes(error))
		return error;
	if (error != -EAGAIN && loop_timer(outbox->loop, &outbox->retry, outbox->loop->now_us + RETRY_US) < 0)
		return -ENOMEM;
	return outbox_keep(outbox, message, fds, n_fds);
}

void outbox_flush(struct outbox *outbox)
{
	for (struct letter *letter; (letter = outbox->first);) {
		int error = message_send(outbox->channel, &letter->message, letter->fds, letter->n_fds);
		/* Where the timer cannot run, the channel's next event is waited for. */
		if (ipc_error_passes(error) && error != -EAGAIN)
			loop_timer(outbox->loop, &outbox->retry, outbox->loop->now_us + RETRY_US);
		if (ipc_error_passes(error))
			return;
		outbox->first = letter->next;
		if (!outbox->first)
			outbox->last = &outbox->first;
		letter_free(letter); /* sent, or the peer is gone, which the channel's owner will see */
	}
}

void outbox_withdraw(struct outbox *outbox, uint64_t number)
{
	struct letter **link = &outbox->first;

	while (*link && (*link)->message.number != number)
		link = &(*link)->next;
	struct letter *letter = *link;
	if (!letter)
		return;
	*link = letter->next;
	if (!*link)
		outbox->last = link;
	letter_free(letter);
}

void outbox_close(struct outbox *outbox)
{
	outbox->channel = -1;
	loop_timer_stop(outbox->loop, &outbox->retry);
	for (struct letter *next; outbox->first; outbox->first = next) {
		next = outbox->first->next;
		letter_free(outbox->first);
	}
	outbox->last = &outbox->first;
}
