/* What the command line says, put into the configuration: it goes before the file. Addresses to listen on are added
 * to the file's; a protocol that the file has is replaced where it stands, any other comes behind the file's, in
 * the order of the command line, --anyprot last of all.
 *
 * Refuses "host:port" without a host or a port, and numbers that are none. Owns the parts of arguments through the
 * configuration. */
#include "sslh_config.h"
#include <stdlib.h>
#include <string.h>

const char *sslh_probe_name(const char *name)
{
	return strcmp(name, "ssl") == 0 ? "tls" : name;
}

#define refuse(complaints, ...) complaint_add(complaints, COMPLAINT_ERROR, SSLH_COMMAND_LINE, 0, __VA_ARGS__)
#define warn(complaints, ...)   complaint_add(complaints, COMPLAINT_WARNING, SSLH_COMMAND_LINE, 0, __VA_ARGS__)

static const char *keep(struct sslh_config *config, const char *text, size_t len)
{
	char *copy = strndup(text, len);

	config->owned = reallocarray(config->owned, config->n_owned + 1, sizeof(*config->owned));
	if (!copy || !config->owned)
		abort();
	return config->owned[config->n_owned++] = copy;
}

/* Cut at the last colon: an IPv6 address needs no brackets. */
static bool endpoint_split(struct sslh_config *config, const struct sslh_argument *argument,
	struct sslh_text *ret_host, struct sslh_text *ret_port, struct complaints *complaints)
{
	const char *colon = strrchr(argument->value, ':');

	if (!colon || colon == argument->value || !colon[1]) {
		refuse(complaints, "--%s %s, expected HOST:PORT such as localhost:443", argument->key,
			argument->value);
		return false;
	}
	ret_host->text = keep(config, argument->value, (size_t)(colon - argument->value));
	ret_port->text = colon + 1;
	return true;
}

static void *grown(void *items, size_t count, size_t size)
{
	items = reallocarray(items, count + 1, size);
	if (!items)
		abort();
	return items;
}

static void listen_add(
	struct sslh_config *config, const struct sslh_argument *argument, struct complaints *complaints)
{
	struct sslh_listen listen = { 0 };

	if (!endpoint_split(config, argument, &listen.host, &listen.port, complaints))
		return;
	config->listens = grown(config->listens, config->n_listens, sizeof(listen));
	config->listens[config->n_listens++] = listen;
}

/* The first of this name; NULL. */
static struct sslh_protocol *protocol_find(const struct sslh_config *config, const char *name)
{
	for (size_t i = 0; i < config->n_protocols; i++) {
		struct sslh_protocol *protocol = &config->protocols[i];
		if (protocol->name.text && strcmp(sslh_probe_name(protocol->name.text), sslh_probe_name(name)) == 0)
			return protocol;
	}
	return NULL;
}

static void protocol_set(
	struct sslh_config *config, const struct sslh_argument *argument, struct complaints *complaints)
{
	struct sslh_protocol protocol = { .name.text = argument->key };
	struct sslh_protocol *known = protocol_find(config, argument->key);

	if (!endpoint_split(config, argument, &protocol.host, &protocol.port, complaints))
		return;
	if (strcmp(argument->key, "ssh") == 0)
		protocol.service.text = "sshd"; /* the name that hosts.allow has for it */
	if (known && known->line == 0) {
		warn(complaints, "--%s is there twice: the first one is used", argument->key);
		return;
	}
	if (known) {
		*known = protocol;
		return;
	}
	config->protocols = grown(config->protocols, config->n_protocols, sizeof(protocol));
	config->protocols[config->n_protocols++] = protocol;
}

static bool is_protocol(const char *key)
{
	for (size_t i = 0; i < sslh_n_protocol_options; i++)
		if (strcmp(sslh_protocol_options[i], key) == 0)
			return true;
	return false;
}

static void global_set(
	struct sslh_config *config, const struct sslh_argument *argument, struct complaints *complaints)
{
	struct sslh_number *number = sslh_global_number(config, argument->key);
	struct sslh_text *text = sslh_global_text(config, argument->key);

	if (text)
		*text = (struct sslh_text){ .text = argument->value };
	else if (number && sslh_number_parse(argument->value, &number->value))
		*number = (struct sslh_number){ .given = true, .value = number->value };
	else if (number)
		refuse(complaints, "--%s %s, expected a whole number", argument->key, argument->value);
}

void sslh_arguments_apply(
	struct sslh_config *config, const struct sslh_options *options, struct complaints *complaints)
{
	for (int last = 0; last < 2; last++)
		for (size_t i = 0; i < options->n_arguments; i++) {
			const struct sslh_argument *argument = &options->arguments[i];
			bool anyprot = strcmp(argument->key, "anyprot") == 0;
			if (anyprot != (last == 1))
				continue;
			if (strcmp(argument->key, "listen") == 0)
				listen_add(config, argument, complaints);
			else if (is_protocol(argument->key))
				protocol_set(config, argument, complaints);
			else
				global_set(config, argument, complaints);
		}
}
