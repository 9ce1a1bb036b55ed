/* What sslh's configuration and command line mean to usher.
 *
 *     listen            listen                       protocols    protocols, services in their order
 *     timeout           decide_timeout               on-timeout   on_silence
 *     user, pidfile     user, pid_file               (the last)   on_unknown
 *     verbose*, logfile, syslog_facility    log
 *
 * Refuses what sslh refuses at its start too: files that sslh_file_read() complains of, addresses to listen on that
 * nobody knows, ports that are none. A backend's name that nobody knows is looked up again while usher serves. What
 * only the policy can tell (its own listeners, users that are not there) the policy tells. A listener on UDP for which
 * there is no entry is left out with a warning. */
#include "sslh.h"
#include "sslh_write.h"
#include "text_file.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define TIMEOUT_PRESET  5             /* seconds, as sslh has it since 1.21 */
#define TIMEOUT_MAX     86400         /* as usher allows */
#define IDLE_TIMEOUT    2592000       /* sslh has none: as long as usher allows */
#define INETD_LISTENER  "127.0.0.1:1" /* of which nobody will hear */
#define CONNECTIONS_MAX 10000000
#define FLOWS_PRESET    1024 /* udp_max_connections */

void sslh_complain(const struct sslh_translation *translation, int error, unsigned line, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	complaint_addv(translation->complaints, error ? COMPLAINT_ERROR : COMPLAINT_WARNING,
		line ? translation->file : SSLH_COMMAND_LINE, line, format, arguments);
	va_end(arguments);
	if (!*translation->error)
		*translation->error = error;
}

unsigned sslh_port(const char *text)
{
	long port;

	if (sslh_number_parse(text, &port))
		return port >= 1 && port <= 65535 ? (unsigned)port : 0;
	const struct servent *service = getservbyname(text, "tcp");
	if (!service)
		service = getservbyname(text, "udp");
	return service ? ntohs((uint16_t)service->s_port) : 0;
}

/* ---- listeners ---- */

static bool listens_on_udp(const struct sslh_listen *listen)
{
	return listen->is_udp.value && !listen->is_unix.value;
}

static void written_add(const struct sslh_translation *translation, enum sslh_way way, const char *text)
{
	struct sslh_written *written = translation->written;
	char *copy = strdup(text);

	written->texts[way] = reallocarray(written->texts[way], written->n[way] + 1, sizeof(char *));
	if (!copy || !written->texts[way])
		abort();
	written->texts[way][written->n[way]++] = copy;
}

static void written_fini(struct sslh_written *written)
{
	for (int way = 0; way < SSLH_WAYS; way++) {
		for (size_t i = 0; i < written->n[way]; i++)
			free(written->texts[way][i]);
		free(written->texts[way]);
	}
}

/* `udp_max_connections' is for all of sslh's listeners together; here each may have as many. */
static long flows_most(const struct sslh_translation *translation, const struct sslh_listen *listen)
{
	const struct sslh_number *all = &translation->config->udp_max_connections;
	long most = all->given && all->value > 0 ? all->value : FLOWS_PRESET;

	if (listen && listen->max_connections.value > 0 && listen->max_connections.value < most)
		most = listen->max_connections.value;
	return most < CONNECTIONS_MAX ? most : CONNECTIONS_MAX;
}

/* `listen' is NULL for a socket that was handed over. */
static void write_udp_listener(const struct sslh_translation *translation, const struct sslh_services *services,
	const struct sslh_listen *listen, const char *address, bool freebind)
{
	struct writer *writer = translation->writer;
	const char *unknown = sslh_services_unknown(services);

	writer_from(writer, listen ? listen->line : 0);
	writer_raw(writer, "\n\t{ ");
	writer_setting(writer, "address", address);
	if (freebind)
		writer_raw(writer, " freebind = true;");
	writer_raw(writer, " max_connections = %ld;", flows_most(translation, listen));
	if (unknown) {
		writer_raw(writer, " ");
		writer_setting(writer, "on_unknown", unknown);
	}
	writer_raw(writer, " }");
	writer_from(writer, 0);
	written_add(translation, SSLH_UDP, address);
}

/* Of one entry: what stands behind each of its addresses. */
static void write_listener(const struct sslh_translation *translation, const struct sslh_listen *listen,
	const char *address, bool freebind)
{
	struct writer *writer = translation->writer;
	bool ip = !listen->is_unix.value;

	written_add(translation, SSLH_TCP, address);
	bool keepalive = ip && listen->keepalive.given && !listen->keepalive.value;
	long most = listen->max_connections.value;

	writer_from(writer, listen->line);
	writer_raw(writer, "\n\t");
	if (!freebind && !keepalive && most <= 0 && !listen->proxyprotocol.value) {
		writer_string(writer, address);
		writer_from(writer, 0);
		return;
	}
	writer_raw(writer, "{ ");
	writer_setting(writer, "address", address);
	if (freebind)
		writer_raw(writer, " freebind = true;");
	if (keepalive)
		writer_raw(writer, " keepalive = false;");
	if (most > 0)
		writer_raw(writer, " max_connections = %ld;", most < CONNECTIONS_MAX ? most : CONNECTIONS_MAX);
	if (listen->proxyprotocol.value)
		writer_raw(writer, " accept_proxy = [ %s ]; absent = \"plain\";",
			ip ? "\"0.0.0.0/0\", \"::/0\"" : "\"unix:\"");
	writer_raw(writer, " }");
	writer_from(writer, 0);
}

static void separate(const struct sslh_translation *translation, bool *first)
{
	writer_raw(translation->writer, "%s", *first ? "" : ",");
	*first = false;
}

/* Addresses that any machine has need no leave to be bound before they are there. ::1 is not one: where IPv6 is
 * switched off, `localhost' may still stand for it. */
static bool is_always_there(const struct sockaddr *address)
{
	if (address->sa_family == AF_INET) {
		uint32_t ip = ntohl(((const struct sockaddr_in *)address)->sin_addr.s_addr);
		return ip == INADDR_ANY || ip >> 24 == IN_LOOPBACKNET;
	}
	const struct in6_addr *ip = &((const struct sockaddr_in6 *)address)->sin6_addr;
	return IN6_IS_ADDR_UNSPECIFIED(ip);
}

/* getnameinfo() has the interface of a link-local address as well. */
static char *address_text(const struct sockaddr *address, socklen_t len, unsigned port, bool udp)
{
	char digits[NI_MAXHOST] = "", *text;

	getnameinfo(address, len, digits, sizeof(digits), NULL, 0, NI_NUMERICHOST);
	if (asprintf(&text, address->sa_family == AF_INET6 ? "%s[%s]:%u" : "%s%s:%u", udp ? "udp:" : "", digits,
		    port) < 0)
		abort();
	return text;
}

/* A host without the brackets that may stand around an IPv6 address; to be freed. */
static char *host_bare(const char *host)
{
	size_t len = strlen(host);
	bool brackets = host[0] == '[' && host[len - 1] == ']';
	char *bare = brackets ? strndup(host + 1, len - 2) : strdup(host);

	if (!bare)
		abort();
	return bare;
}

static bool is_there_before(const struct addrinfo *list, const struct addrinfo *at)
{
	for (; list != at; list = list->ai_next)
		if (list->ai_addrlen == at->ai_addrlen && memcmp(list->ai_addr, at->ai_addr, at->ai_addrlen) == 0)
			return true;
	return false;
}

/* sslh listens on every address of a name; here they are looked up once, when the configuration is read. */
static void write_named_listener(const struct sslh_translation *translation, const struct sslh_services *services,
	const struct sslh_listen *listen, bool *first)
{
	const struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM };
	struct addrinfo *list = NULL;
	unsigned port = sslh_port(listen->port.text);
	char *host = host_bare(listen->host.text);
	int error = getaddrinfo(host, NULL, &hints, &list);

	free(host);
	if (!port)
		sslh_complain(translation, -EHOSTUNREACH, listen->port.line,
			"port `%s' to listen on, expected 1 to 65535 or a name of services(5)", listen->port.text);
	if (error)
		sslh_complain(translation, -EHOSTUNREACH, listen->host.line, "host `%s' to listen on: %s",
			listen->host.text, gai_strerror(error));
	for (const struct addrinfo *at = error || !port ? NULL : list; at; at = at->ai_next) {
		if ((at->ai_family != AF_INET && at->ai_family != AF_INET6) || is_there_before(list, at))
			continue;
		char *address = address_text(at->ai_addr, at->ai_addrlen, port, listens_on_udp(listen));
		separate(translation, first);
		if (listens_on_udp(listen))
			write_udp_listener(translation, services, listen, address, !is_always_there(at->ai_addr));
		else
			write_listener(translation, listen, address, !is_always_there(at->ai_addr));
		free(address);
	}
	if (!error)
		freeaddrinfo(list);
}

static void write_unix_listener(
	const struct sslh_translation *translation, const struct sslh_listen *listen, bool *first)
{
	char *path = writer_absolute(listen->host.text), *address;

	if (asprintf(&address, "unix:%s", path) < 0)
		abort();
	separate(translation, first);
	write_listener(translation, listen, address, false);
	free(address);
	free(path);
}

/* Complained of otherwise. */
static bool listen_is_whole(const struct sslh_listen *listen)
{
	return listen->host.text && (listen->port.text || listen->is_unix.value);
}

static void write_configured_listeners(
	const struct sslh_translation *translation, const struct sslh_services *services, bool *first)
{
	for (size_t i = 0; i < translation->config->n_listens; i++) {
		const struct sslh_listen *listen = &translation->config->listens[i];
		if (!listen_is_whole(listen))
			continue;
		if (listens_on_udp(listen) && !sslh_services_take_datagrams(services))
			sslh_warn(translation, listen->line, "listener %s:%s is left out: no protocol is for UDP",
				listen->host.text, listen->port.text);
		else if (listen->is_unix.value)
			write_unix_listener(translation, listen, first);
		else
			write_named_listener(translation, services, listen, first);
		if (listens_on_udp(listen) && listen->proxyprotocol.value)
			sslh_warn(translation, listen->proxyprotocol.line,
				"`proxyprotocol' of a listener on UDP is left out: datagrams have no PROXY header");
		else if (listen->proxyprotocol.value)
			sslh_warn(translation, listen->proxyprotocol.line,
				"PROXY headers are accepted from every client of this listener; usher's own "
				"`accept_proxy' can name the proxies");
	}
}

static void write_handed_listeners(
	const struct sslh_translation *translation, const struct sslh_services *services, bool *first)
{
	const struct sslh_options *options = translation->options;
	struct writer *writer = translation->writer;

	for (size_t i = 0; i < options->n_handed; i++) {
		bool udp = strncmp(options->handed[i], "udp:", 4) == 0;
		if (udp && !sslh_services_take_datagrams(services))
			continue; /* closed at the start, with a warning */
		separate(translation, first);
		if (udp) {
			write_udp_listener(translation, services, NULL, options->handed[i], false);
			continue;
		}
		writer_raw(writer, "\n\t");
		writer_string(writer, options->handed[i]);
		written_add(translation, SSLH_TCP, options->handed[i]);
	}
}

/* What there will be, before any of it is written. */
static void ways_find(struct sslh_translation *translation)
{
	const struct sslh_options *options = translation->options;
	const struct sslh_config *config = translation->config;

	translation->has[SSLH_TCP] = translation->inetd;
	for (size_t i = 0; i < options->n_handed && !translation->inetd; i++)
		translation->has[strncmp(options->handed[i], "udp:", 4) == 0 ? SSLH_UDP : SSLH_TCP] = true;
	for (size_t i = 0; i < config->n_listens && !translation->inetd && !options->n_handed; i++)
		if (listen_is_whole(&config->listens[i]))
			translation->has[listens_on_udp(&config->listens[i]) ? SSLH_UDP : SSLH_TCP] = true;
}

static void write_listeners(const struct sslh_translation *translation, const struct sslh_services *services)
{
	const struct sslh_options *options = translation->options;
	struct writer *writer = translation->writer;
	bool first = true;

	writer_raw(writer, "listen = (");
	if (translation->inetd) {
		separate(translation, &first);
		writer_raw(writer, " \"" INETD_LISTENER "\" ");
	} else if (options->n_handed) {
		write_handed_listeners(translation, services, &first);
	} else {
		write_configured_listeners(translation, services, &first);
	}
	writer_raw(writer, "%s);\n", translation->inetd ? "" : "\n");
	if (first && translation->complaints->errors == 0)
		sslh_refuse(translation, 0, "nowhere to listen, expected `listen' in the file or -p HOST:PORT");
}

/* ---- globals ---- */

static void write_timeouts(const struct sslh_translation *translation)
{
	const struct sslh_number *timeout = &translation->config->timeout;
	struct writer *writer = translation->writer;
	long seconds = timeout->given ? timeout->value : TIMEOUT_PRESET;

	if (seconds < 0)
		sslh_refuse(translation, timeout->line, "`timeout' is %ld, expected seconds from 0", seconds);
	writer_from(writer, timeout->line);
	if (seconds == 0) /* at once, which usher writes otherwise: 0 is never */
		writer_raw(writer, "decide_timeout = 0.001;\n");
	else
		writer_raw(writer, "decide_timeout = %ld.0;\n", seconds < TIMEOUT_MAX ? seconds : TIMEOUT_MAX);
	writer_from(writer, 0);
	writer_raw(writer, "idle_timeout = %u.0;\n", IDLE_TIMEOUT);
}

static void write_identity(const struct sslh_translation *translation)
{
	const struct sslh_config *config = translation->config;
	struct writer *writer = translation->writer;

	if (config->user.text && !translation->inetd) {
		if (!getpwnam(config->user.text))
			sslh_complain(
				translation, -ENOENT, config->user.line, "there is no user `%s'", config->user.text);
		writer_from(writer, config->user.line);
		writer_setting(writer, "user", config->user.text);
		writer_raw(writer, "\n");
	}
	if (config->pidfile.text && !translation->inetd) {
		writer_from(writer, config->pidfile.line);
		if (!*config->pidfile.text)
			sslh_refuse(translation, config->pidfile.line, "an empty `pidfile', expected a path");
		writer_path(writer, "pid_file", config->pidfile.text);
		writer_raw(writer, "\n");
	}
	writer_from(writer, 0);
	if (config->chroot.text)
		sslh_warn(translation, config->chroot.line,
			"`chroot' is left out: usher's workers have no privileges and open no files");
}

static void translate(struct sslh_translation *translation)
{
	ways_find(translation);
	struct sslh_services *services = sslh_services_new(translation);
	writer_raw(translation->writer, "# From a configuration of sslh, by `usher sslh --print'.\n");
	write_listeners(translation, services);
	write_identity(translation);
	sslh_write_log(translation);
	write_timeouts(translation);
	sslh_services_write(services);
	sslh_services_free(services);
}

/* ---- all of it ---- */

static int config_read(struct sslh_config *config, const char *text, size_t len, const struct sslh_options *options,
	struct complaints *complaints)
{
	size_t errors = complaints->errors;

	if (text)
		sslh_file_read(config, options->file, text, len, complaints);
	sslh_arguments_apply(config, options, complaints);
	return complaints->errors > errors ? -EBADMSG : 0;
}

static struct sslh_mode mode_of(const struct sslh_config *config)
{
	return (struct sslh_mode){
		.foreground = config->foreground.value && !config->background.value,
		.inetd = config->inetd.value,
	};
}

int sslh_translate_text(struct native *ret, const char *text, size_t len, const struct sslh_options *options,
	struct complaints *complaints)
{
	struct sslh_config config = { 0 };
	struct sslh_written written = { 0 };
	struct sslh_translation translation = {
		.config = &config,
		.written = &written,
		.options = options,
		.file = options->file ? options->file : SSLH_COMMAND_LINE,
		.writer = writer_new(),
		.complaints = complaints,
	};
	int error = 0;

	translation.error = &error;
	if (config_read(&config, text, len, options, complaints) < 0)
		error = -EBADMSG;
	struct sslh_mode mode = mode_of(&config);
	translation.foreground = mode.foreground;
	translation.inetd = mode.inetd;
	if (!text || config.reader)
		translate(&translation);
	sslh_config_fini(&config);
	written_fini(&written);
	if (error) {
		writer_discard(translation.writer);
		return error;
	}
	writer_finish(translation.writer, ret);
	return 0;
}

int sslh_translate(struct native *ret, const struct sslh_options *options, struct complaints *complaints)
{
	size_t len = 0;
	char *text = options->file ? text_file_read(options->file, &len, complaints) : NULL;
	int error = options->file && !text ? -EBADMSG : sslh_translate_text(ret, text, len, options, complaints);

	free(text);
	return error;
}

void sslh_mode_read(struct sslh_mode *ret, const struct sslh_options *options)
{
	struct complaints unheard = { 0 }; /* they come again with the translation */
	struct sslh_config config = { 0 };
	size_t len = 0;
	char *text = options->file ? text_file_read(options->file, &len, &unheard) : NULL;

	config_read(&config, text, len, options, &unheard);
	*ret = mode_of(&config);
	sslh_config_fini(&config);
	complaints_fini(&unheard);
	free(text);
}
