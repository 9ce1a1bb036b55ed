/* A DTLS server that receives its clients from usher: it sends back what they say, in upper case. One process for each client.
 * usage: dtls-receiver /path/of.sock certificate.pem key.pem
 *
 * OpenSSL takes a connected socket. The hello has come before that, by usher_early(): OpenSSL reads those datagrams from memory, one after the
 * other, and then the socket. */
#include <ctype.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>
#include <usher/handover.h>

#define IDLE_S 30

/* The socket, for both ways. */
static BIO *socket_bio(int fd)
{
	struct sockaddr_storage peer;
	socklen_t len = sizeof(peer);
	struct timeval patience = { .tv_sec = IDLE_S };
	BIO *bio = BIO_new_dgram(fd, BIO_NOCLOSE);

	if (!bio || getpeername(fd, (struct sockaddr *)&peer, &len) < 0)
		exit(EXIT_FAILURE);
	BIO_ctrl_set_connected(bio, &peer);
	BIO_ctrl(bio, BIO_CTRL_DGRAM_SET_RECV_TIMEOUT, 0, &patience);
	return bio;
}

static void read_early(SSL *ssl, struct usher_connection *c)
{
	static uint8_t bytes[65536];
	ssize_t n;

	while ((n = usher_early(c, bytes, sizeof(bytes), NULL)) >= 0) {
		BIO *memory = BIO_new_mem_buf(bytes, (int)n);
		if (!memory)
			exit(EXIT_FAILURE);
		BIO_set_mem_eof_return(memory, -1); /* at its end: more is to come */
		SSL_set0_rbio(ssl, memory);
		SSL_accept(ssl);
	}
}

static void serve(SSL_CTX *context, struct usher_connection *c)
{
	SSL *ssl = SSL_new(context);
	BIO *bio = socket_bio(c->fd);
	char bytes[16384];
	int n;

	if (!ssl)
		return;
	SSL_set0_wbio(ssl, bio);
	read_early(ssl, c);
	BIO_up_ref(bio);
	SSL_set0_rbio(ssl, bio);
	if (SSL_accept(ssl) != 1)
		return;
	while ((n = SSL_read(ssl, bytes, sizeof(bytes))) > 0) {
		for (int i = 0; i < n; i++)
			bytes[i] = (char)toupper((unsigned char)bytes[i]);
		SSL_write(ssl, bytes, n);
	}
	SSL_shutdown(ssl);
}

int main(int argc, char **argv)
{
	SSL_CTX *context = SSL_CTX_new(DTLS_server_method());
	struct usher_receiver *receiver;
	struct usher_connection c;

	signal(SIGCHLD, SIG_IGN);
	if (argc != 4 || !context || SSL_CTX_use_certificate_chain_file(context, argv[2]) != 1 ||
		SSL_CTX_use_PrivateKey_file(context, argv[3], SSL_FILETYPE_PEM) != 1 ||
		usher_listen(argv[1], 0660, &receiver) < 0)
		return EXIT_FAILURE;
	while (usher_wait(receiver, -1) == 0) {
		while (usher_accept(receiver, &c) == 0) {
			if (c.early >= 0 && fork() == 0) {
				serve(context, &c);
				_exit(EXIT_SUCCESS);
			}
			close(c.early);
			close(c.fd);
		}
	}
	usher_close(receiver);
	SSL_CTX_free(context);
	return EXIT_SUCCESS;
}
