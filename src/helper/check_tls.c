/* OpenSSL, for checks alone. Refuses to judge: any certificate, any algorithm that OpenSSL still has will do, because what is asked is whether
 * the server speaks. Owns the connection's state, not its socket. */
#include "check_tls.h"
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

struct check_tls_context *check_tls_context_new(void)
{
	SSL_CTX *context = SSL_CTX_new(TLS_client_method());

	if (!context)
		return NULL;
	SSL_CTX_set_verify(context, SSL_VERIFY_NONE, NULL);
	SSL_CTX_set_security_level(context, 0);
	SSL_CTX_set_min_proto_version(context, 0);
	SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_options(context, SSL_OP_IGNORE_UNEXPECTED_EOF | SSL_OP_LEGACY_SERVER_CONNECT);
	return (struct check_tls_context *)context;
}

static SSL *ssl_of(struct check_tls *tls)
{
	return (SSL *)tls;
}

struct check_tls *check_tls_new(struct check_tls_context *context, int fd, const char *sni)
{
	SSL *ssl = SSL_new((SSL_CTX *)context);

	if (!ssl)
		return NULL;
	if (SSL_set_fd(ssl, fd) == 1 && SSL_set_tlsext_host_name(ssl, sni) == 1)
		return (struct check_tls *)ssl;
	SSL_free(ssl);
	return NULL;
}

void check_tls_free(struct check_tls *tls)
{
	if (!tls)
		return;
	if (SSL_is_init_finished(ssl_of(tls)))
		SSL_shutdown(ssl_of(tls)); /* without waiting for the other side's */
	SSL_free(ssl_of(tls));
	ERR_clear_error();
}

/* What OpenSSL made of a call that did not do what was asked. */
static int outcome(struct check_tls *tls, int r)
{
	switch (SSL_get_error(ssl_of(tls), r)) {
	case SSL_ERROR_WANT_READ:
	case SSL_ERROR_WANT_WRITE:
		return -EAGAIN;
	case SSL_ERROR_ZERO_RETURN:
		return 0;
	default:
		return -EPROTO;
	}
}

int check_tls_shake(struct check_tls *tls)
{
	ERR_clear_error();
	int r = SSL_connect(ssl_of(tls));
	int error = r == 1 ? 0 : outcome(tls, r);

	return r != 1 && error == 0 ? -EPROTO : error;
}

ssize_t check_tls_send(struct check_tls *tls, const uint8_t *bytes, size_t len)
{
	size_t sent;

	ERR_clear_error();
	int r = SSL_write_ex(ssl_of(tls), bytes, len, &sent);
	return r == 1 ? (ssize_t)sent : outcome(tls, r);
}

ssize_t check_tls_receive(struct check_tls *tls, uint8_t *bytes, size_t size)
{
	size_t received;

	ERR_clear_error();
	int r = SSL_read_ex(ssl_of(tls), bytes, size, &received);
	return r == 1 ? (ssize_t)received : outcome(tls, r);
}
