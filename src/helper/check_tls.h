/* TLS to a backend that is checked: a handshake that completes, and bytes in it. Nobody's certificate is judged. */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct check_tls_context;
struct check_tls;

/* Before the sandbox: it reads the configuration of OpenSSL. NULL: it cannot be had. */
struct check_tls_context *check_tls_context_new(void);

/* On a connected socket, which stays the caller's. NULL: no memory. */
struct check_tls *check_tls_new(struct check_tls_context *context, int fd, const char *sni);
void check_tls_free(struct check_tls *tls); /* accepts NULL */

/* 0; -EAGAIN: when the socket is ready again; or -EPROTO. */
int check_tls_shake(struct check_tls *tls);
/* Bytes, 0 at the end, or as above. */
ssize_t check_tls_send(struct check_tls *tls, const uint8_t *bytes, size_t len);
ssize_t check_tls_receive(struct check_tls *tls, uint8_t *bytes, size_t size);
