/* Takes over connections that usher hands to another program, by libusher-handover, and the two formats that
 * they come in.
 *
 * usher looked at a client's first bytes without reading them, chose a service, and passes the client's
 * socket to the program that listens on the service's `handover` path. From then on usher has nothing to do
 * with the connection: the program reads every byte that the client sent and its peer is the client itself.
 * All that a program needs:
 *
 *     struct usher_receiver *receiver;
 *     struct usher_connection c;
 *
 *     if (usher_listen("/run/usher/web.sock", 0660, &receiver) < 0)
 *         exit(1);
 *     while (usher_wait(receiver, -1) == 0)
 *         while (usher_accept(receiver, &c) == 0)
 *             serve(c.fd, c.service); // and close it
 *
 * A program with an event loop of its own watches usher_receiver_fd() in place of usher_wait().
 *
 * Functions return 0 or a negated errno and write to `ret` only when they return 0. They keep nothing in
 * global variables, write to no file or terminal and change no signal. A receiver belongs to one thread at a
 * time; after fork() only one of the processes may go on using it.
 *
 * ## Formats
 *
 * Both go over AF_UNIX SOCK_STREAM connections, here called channels, that usher opens (one a worker) and
 * keeps. Each message brings one connection: its socket is the SCM_RIGHTS descriptor sent with the
 * message's first byte. A receiver tells the formats apart, message by message, by the first four bytes.
 *
 * `tcpmux` is four bytes, 0xdeadbeaf in the machine's own byte order, and no more. Nothing is sent back.
 *
 * `usher` is at most 1024 bytes, numbers in network order:
 *
 *      0       4         5       6              8
 *     +-------+---------+-------+--------------+------------------------------+
 *     | USHR  | version | flags | total length | attribute, attribute, ...    |
 *     +-------+---------+-------+--------------+------------------------------+
 *                                header included
 *
 *      0             2        4
 *     +-------------+--------+-----------+
 *     | type        | length | value ... |      length: of the value alone
 *     +-------------+--------+-----------+
 *
 * A receiver may skip all of the attributes. It must ignore types and flags that it does not know, and must
 * refuse a version that is not 1: that is how the format grows. An attribute whose value is longer than 255
 * bytes, or that no longer fits, is left out, and the flag USHER_FLAG_INCOMPLETE says so. Attributes come in
 * any order, none twice.
 *
 * ## Acknowledgement
 *
 * What a receiver was sent and had not read when it died is lost, unless it acknowledges; this library does. In the
 * format `usher` a receiver may announce that, by these eight bytes, the first that it writes to a channel, after it
 * accepted the channel and before it reads from it:
 *
 *      0       4         5       6              8
 *     +-------+---------+-------+--------------+
 *     | USHR  | 1       | 1     | 8            |      hello: version, kind USHER_ANSWER_HELLO, total length
 *     +-------+---------+-------+--------------+
 *
 * From then on it acknowledges the messages that carry the flag USHER_FLAG_ACKNOWLEDGE, which an usher that reads
 * answers sets in all of the format `usher` (one that does not set it reads nothing):
 *
 *      0       4         5       6              8                              16
 *     +-------+---------+-------+--------------+------------------------------+
 *     | USHR  | 1       | 2     | 16           | how many                     |
 *     +-------+---------+-------+--------------+------------------------------+
 *
 * "How many" counts the messages with the flag since the channel began, those included that came before the hello was
 * read; it is more than in the acknowledgement before. One may stand for several messages. Anything else that a receiver
 * writes after its hello costs it the channel. One whose first bytes are no hello has announced nothing: usher reads no
 * further and works as with one that says nothing.
 *
 * usher keeps a client's socket until its message is acknowledged. A channel that ends before gives back what was not
 * acknowledged: it is sent again to whoever accepts at the path next, or goes to the service's fallback. So does what is
 * not acknowledged within connect_timeout: usher then closes the channel. Hence the one rule of a receiver that
 * announced:
 *
 *     Acknowledge a connection when you have its socket, before you read from it or write to it. If that fails (EPIPE,
 *     ECONNRESET), close it untouched: somebody else has it. A hello that could not be written announced nothing.
 *
 * What is acknowledged is never sent again. Not more than 128 connections are unacknowledged at a time on the channels
 * of a worker; further ones wait in usher.
 *
 * usher_accept() acknowledges a connection right before it returns it, and closes one that it could not acknowledge.
 *
 * ## Datagrams
 *
 * A server whose processes share one listening socket may bind an AF_UNIX SOCK_DGRAM socket at the path, and have each of
 * them receive from it: every message is one datagram, and comes to one process. (This library does not; libusher-accept,
 * which usher-accept(1) preloads into such servers, does.) Only the format `usher` is sent so. There are two descriptors
 * with a datagram, first the client's socket, then one end of a stream on which the receipt for it is to be written. There
 * is no hello. The receipt is
 *
 *      0       4         5       6              8                              16
 *     +-------+---------+-------+--------------+------------------------------+
 *     | USHR  | 1       | 3     | 16           | the attribute NUMBER         |
 *     +-------+---------+-------+--------------+------------------------------+
 *
 * in one send() (MSG_DONTWAIT, MSG_NOSIGNAL), after which the stream is closed. The one rule holds here too: before
 * anything else is done with the client's socket; if it fails, the client's socket is closed untouched. Anything else
 * that is written there costs all that usher sent on this channel: it is nobody else's then.
 *
 * A datagram that somebody read without a receipt within a tenth of a second, or that was lost with the socket, is sent
 * again. The queue of such a socket is short (net.unix.max_dgram_qlen); more wait in usher.
 *
 * ## Flows over UDP
 *
 * A service that takes datagrams hands over flows: what one client's address and port say to one address and port of usher's. The message is
 * the same, in the format `usher` and on a stream, with the flag USHER_FLAG_DATAGRAMS and a second descriptor beside the first: the client's
 * socket is a UDP socket that is connected to the client, and has what the client sends from now on; the second one is an AF_UNIX
 * SOCK_SEQPACKET socket that has the datagrams which came before, each as one message, in their order, and then ends:
 *
 *      0       1       2       3       4
 *     +-------+-------+-------+-------+-----------------------+
 *     | TOS   | 0     | 0     | 0     | the datagram's bytes  |      TOS: DSCP and ECN as they came
 *     +-------+-------+-------+-------+-----------------------+
 *
 * A receiver reads these until the end, and then the client's socket; usher_early() does it. The flow is the receiver's: when it closes the
 * socket, what the client sends then is a new flow to usher. The socket is of AF_INET6, also for clients of IPv4, whose addresses are mapped
 * (::ffff:192.0.2.1). Nobody has told the client's address from a forged one: a server of QUIC or DTLS does that by Retry or a cookie.
 *
 * ## Without this library
 *
 * At the start of a message, a recvmsg() with a larger buffer stops at its end because of the descriptor; but once a
 * message is begun, ask for no more than is left of it, or the next message's descriptor comes with this one's bytes.
 * examples/receiver.py shows it. */
#pragma once
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#define USHER_TCPMUX_MAGIC  0xdeadbeafu
#define USHER_MAGIC         "USHR"
#define USHER_VERSION       1
#define USHER_HEADER_SIZE   8
#define USHER_MESSAGE_MAX   1024
#define USHER_ATTRIBUTE_MAX 255 /* bytes of a value */

#define USHER_FLAG_INCOMPLETE  0x01 /* an attribute was too long and is missing */
#define USHER_FLAG_ACKNOWLEDGE 0x02 /* to be acknowledged by a receiver that announced that it does */
#define USHER_FLAG_DATAGRAMS   0x04 /* a flow over UDP, with a second descriptor */

#define USHER_ANSWER_HELLO           1
#define USHER_ANSWER_ACKNOWLEDGEMENT 2
#define USHER_ANSWER_RECEIPT         3
#define USHER_ACKNOWLEDGEMENT_SIZE   16

enum usher_attribute {
	USHER_ATTRIBUTE_ID = 1,      /* 8 bytes, a number: the connection's id in usher's log */
	USHER_ATTRIBUTE_SERVICE = 2, /* the others are text without NUL; this one a name from usher's configuration */
	USHER_ATTRIBUTE_PROTOCOL = 3, /* absent where none was recognised */
	USHER_ATTRIBUTE_SNI = 4,      /* host name characters only */
	USHER_ATTRIBUTE_ALPN = 5,     /* the client's first choice: any bytes */
	USHER_ATTRIBUTE_HOST = 6,     /* of an HTTP request */
	USHER_ATTRIBUTE_CLIENT =
		7, /* "192.0.2.1:50000", "[2001:db8::1]:50000", "[fe80::1%eth0]:50000", "unix:/path", "unix:" (unnamed) */
	USHER_ATTRIBUTE_LOCAL = 8,  /* that the client connected to */
	USHER_ATTRIBUTE_NUMBER = 9, /* of a datagram, for its receipt: 8 bytes, a number */
};

/* What came. Text is empty where the attribute is absent (in `tcpmux` all of it) and always ends with NUL.
 * The client chose sni, alpn and host: escape them before they reach a log or a terminal. `client` and
 * `local` are what getpeername() and getsockname() say unless a proxy in front of usher told usher better. */
struct usher_connection {
	int fd; /* the client's socket, close-on-exec: the caller's to close */
	int early; /* of a flow over UDP: the datagrams that came before, for usher_early(), which closes it with the last one;
	                 * else -1 */
	uint32_t flags; /* USHER_FLAG_INCOMPLETE, USHER_FLAG_DATAGRAMS */
	uint64_t id;    /* 0: absent */
	char service[USHER_ATTRIBUTE_MAX + 1];
	char protocol[USHER_ATTRIBUTE_MAX + 1];
	char sni[USHER_ATTRIBUTE_MAX + 1];
	char alpn[USHER_ATTRIBUTE_MAX + 1];
	char host[USHER_ATTRIBUTE_MAX + 1];
	char client[USHER_ATTRIBUTE_MAX + 1];
	char local[USHER_ATTRIBUTE_MAX + 1];
};

#define USHER_CHANNELS_MAX 1024 /* open at a time; one more is closed at once */

struct usher_receiver;

/* Listens at `path` (1 to 107 bytes; the directory must exist and be readable) with permissions `mode`,
 * whatever the umask: who may write to the socket may hand over connections. A socket there that nobody
 * listens on any more is replaced. -EADDRINUSE: somebody does listen there; -ENOTSOCK: there is something
 * that is not a socket, left alone; -EBUSY: another process kept the directory locked (flock) for a second;
 * -EINVAL, -ENAMETOOLONG: the path; -ENOMEM; or what open, socket, bind, chmod or listen said. */
int usher_listen(const char *path, mode_t mode, struct usher_receiver **ret);

/* A descriptor that polls readable (POLLIN, EPOLLIN) while there is something for usher_accept() to do; the
 * receiver's, not to be read or closed. Edge-triggered, usher_accept() must be called until -EAGAIN. */
int usher_receiver_fd(const struct usher_receiver *receiver);

/* Waits until there is something to do, at most timeout_ms (-1: for ever). 0; -ETIMEDOUT; -EINTR. */
int usher_wait(struct usher_receiver *receiver, int timeout_ms);

/* The next connection, never waiting for one: channels take turns. 0: `ret->fd` blocks, as from accept(2); in
 * usher_accept4() `flags` may be SOCK_NONBLOCK.
 * -EAGAIN: nothing there. -EMFILE, -ENFILE, -ENOMEM: no room for a descriptor now; nothing is lost, call
 * again later. -ESHUTDOWN: after usher_stop(), the last one is gone. -EINVAL: flags. A malformed message
 * costs its channel, with what came on it after: no error, but counted by usher_refused(). */
int usher_accept(struct usher_receiver *receiver, struct usher_connection *ret);
int usher_accept4(struct usher_receiver *receiver, struct usher_connection *ret, int flags);

/* The next of the datagrams that came before a flow's socket was connected: its length, which is more than `size` where it was cut to that,
 * with its TOS where ret_tos is not NULL. -ENODATA: there are no more, read the socket; or it is no flow. To be called until then, before
 * anything is read from the socket; a caller that does not want them closes c->early. Never waits. */
ssize_t usher_early(struct usher_connection *c, void *buffer, size_t size, uint8_t *ret_tos);

/* Malformed or cut off messages, and channels above USHER_CHANNELS_MAX, since usher_listen(). */
uint64_t usher_refused(const struct usher_receiver *receiver);

/* Takes nothing new: usher gets an error for what it still sends, and turns to whoever listens at the path
 * next (who may replace the socket from now on). What was already sent still comes out of usher_accept(). So
 * ends a program that loses no connection. */
void usher_stop(struct usher_receiver *receiver);

/* Closes everything, with connections that were not accepted, and removes the socket if it is still this
 * one's. Accepts NULL. Connections accepted before are not touched. */
void usher_close(struct usher_receiver *receiver);

#ifdef __cplusplus
}
#endif
