/* sslh's command line, of all its versions at once: options with one dash and with two, with `-' and `_' in their
 * names, cut short where that is unambiguous; -v with and without a number; -F with a file behind it or behind a
 * space, or none.
 *
 * Refuses options that no sslh has. What they say is put into the configuration behind what the file says. */
#include "sslh_config.h"
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Options without a letter of their own. */
enum { OPTION_PRINT = 256, OPTION_CONTROL, OPTION_KEY };

const char *const sslh_protocol_options[] = { "ssh", "tls", "ssl", "openvpn", "tinc", "wireguard", "xmpp", "http",
	"adb", "socks5", "syslog", "msrdp", "anyprot" };
const size_t sslh_n_protocol_options = sizeof(sslh_protocol_options) / sizeof(sslh_protocol_options[0]);

static const struct option fixed_options[] = {
	{ "config", optional_argument, NULL, 'F' },
	{ "verbose", optional_argument, NULL, 'v' },
	{ "version", no_argument, NULL, 'V' },
	{ "help", no_argument, NULL, 'h' },
	{ "print", no_argument, NULL, OPTION_PRINT },
	{ "control", required_argument, NULL, OPTION_CONTROL },
	{ "foreground", no_argument, NULL, 'f' },
	{ "background", no_argument, NULL, OPTION_KEY },
	{ "inetd", no_argument, NULL, 'i' },
	{ "numeric", no_argument, NULL, 'n' },
	{ "transparent", no_argument, NULL, OPTION_KEY },
	{ "timeout", required_argument, NULL, 't' },
	{ "on-timeout", required_argument, NULL, OPTION_KEY },
	{ "user", required_argument, NULL, 'u' },
	{ "pidfile", required_argument, NULL, 'P' },
	{ "chroot", required_argument, NULL, 'C' },
	{ "listen", required_argument, NULL, 'p' },
	{ "syslog-facility", required_argument, NULL, OPTION_KEY },
	{ "logfile", required_argument, NULL, OPTION_KEY },
	{ "udp-max-connections", required_argument, NULL, OPTION_KEY },
	{ "prefix", required_argument, NULL, OPTION_KEY },
	{ "verbose-config", required_argument, NULL, OPTION_KEY },
	{ "verbose-config-error", required_argument, NULL, OPTION_KEY },
	{ "verbose-connections", required_argument, NULL, OPTION_KEY },
	{ "verbose-connections-try", required_argument, NULL, OPTION_KEY },
	{ "verbose-connections-error", required_argument, NULL, OPTION_KEY },
	{ "verbose-fd", required_argument, NULL, OPTION_KEY },
	{ "verbose-packets", required_argument, NULL, OPTION_KEY },
	{ "verbose-probe-info", required_argument, NULL, OPTION_KEY },
	{ "verbose-probe-error", required_argument, NULL, OPTION_KEY },
	{ "verbose-system-error", required_argument, NULL, OPTION_KEY },
	{ "verbose-int-error", required_argument, NULL, OPTION_KEY },
};
#define N_FIXED (sizeof(fixed_options) / sizeof(fixed_options[0]))

/* The keys that options of one letter stand for. */
static const struct {
	int letter;
	const char *key;
} letters[] = { { 'f', "foreground" }, { 'i', "inetd" }, { 'n', "numeric" }, { 't', "timeout" }, { 'u', "user" },
	{ 'P', "pidfile" }, { 'C', "chroot" }, { 'p', "listen" } };

static const char *const places[] = { "/etc/sslh/sslh.cfg", "/etc/sslh.cfg" };

void sslh_usage(FILE *to)
{
	fputs("usage: usher sslh [-F[FILE]] [-p HOST:PORT ...] [-f] [-i] [-t SECONDS] [-u USER] [-P FILE] [-v [N]] "
	      "[-n]\n"
	      "                  [--on-timeout NAME] [--transparent] [--syslog-facility NAME] [--logfile FILE] [-C "
	      "DIR]\n"
	      "                  [--PROTOCOL HOST:PORT ...] [-V] [--print] [--control PATH]\n"
	      "  -F FILE     sslh's configuration; without a name /etc/sslh/sslh.cfg or /etc/sslh.cfg\n"
	      "  -p          an address to listen on; repeatable   -f   stay in the foreground\n"
	      "  -i          one connection, on descriptor 0 (inetd)\n"
	      "  -t          how long a client may be silent, then it goes to --on-timeout\n"
	      "  --PROTOCOL  the server of that protocol; probed in the order given:",
		to);
	for (size_t i = 0; i < sslh_n_protocol_options; i++)
		fprintf(to, "%s --%s", i == 5 ? "\n             " : "", sslh_protocol_options[i]);
	fputs("\n  --print     print the same configuration in usher's format, and exit\n"
	      "  --control   the control socket, for `usher status -s PATH' and the like\n",
		to);
}

static void argument_add(struct sslh_options *options, const char *key, const char *value)
{
	options->arguments = reallocarray(options->arguments, options->n_arguments + 1, sizeof(*options->arguments));
	if (!options->arguments)
		abort();
	options->arguments[options->n_arguments++] = (struct sslh_argument){ key, value };
}

/* The key that a long option stands for. */
static const char *key_of(const char *option)
{
	static const char *const keys[] = { "on_timeout", "syslog_facility", "udp_max_connections", "verbose_config",
		"verbose_config_error", "verbose_connections", "verbose_connections_try", "verbose_connections_error",
		"verbose_fd", "verbose_packets", "verbose_probe_info", "verbose_probe_error", "verbose_system_error",
		"verbose_int_error" };

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		const char *a = option, *b = keys[i];
		while (*a && *b && (*a == *b || (*a == '-' && *b == '_'))) {
			a++;
			b++;
		}
		if (!*a && !*b)
			return keys[i];
	}
	return option;
}

/* What may stand behind a space: it is the option's where it cannot be anything else. */
static const char *value_behind(int argc, char **argv, bool number)
{
	const char *next = optind < argc ? argv[optind] : NULL;

	if (optarg)
		return optarg;
	if (!next || next[0] == '-' || (number && strspn(next, "0123456789") != strlen(next)))
		return NULL;
	optind++;
	return next;
}

static const char *default_file(void)
{
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++)
		if (access(places[i], F_OK) == 0)
			return places[i];
	return places[sizeof(places) / sizeof(places[0]) - 1];
}

static int option_take(struct sslh_options *options, int option, const struct option *named, int argc, char **argv)
{
	const char *value;

	switch (option) {
	case 'F':
		value = value_behind(argc, argv, false);
		options->file = value ? value : default_file();
		return 0;
	case 'v':
		value = value_behind(argc, argv, true);
		argument_add(options, "verbose", value && value[0] != 'v' ? value : "1"); /* -vv, of old */
		return 0;
	case 'V':
		options->version = true;
		return 0;
	case 'h':
		options->help = true;
		return 0;
	case OPTION_PRINT:
		options->print = true;
		return 0;
	case OPTION_CONTROL:
		options->control = optarg;
		return 0;
	case OPTION_KEY:
		argument_add(options, key_of(named->name), optarg ? optarg : "1");
		return 0;
	}
	for (size_t i = 0; i < sizeof(letters) / sizeof(letters[0]); i++)
		if (letters[i].letter == option) {
			argument_add(options, letters[i].key, optarg ? optarg : "1");
			return 0;
		}
	return -EBADMSG; /* getopt has said why */
}

/* "--on_timeout=x" is "--on-timeout=x". */
static void dashes_set(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		if (strncmp(argv[i], "--", 2) == 0)
			for (char *c = argv[i] + 2; *c && *c != '='; c++)
				if (*c == '_')
					*c = '-';
}

int sslh_options_read(struct sslh_options *ret, int argc, char **argv)
{
	struct option *all = calloc(N_FIXED + sslh_n_protocol_options + 1, sizeof(*all));
	int option, place = 0, error = 0;

	if (!all)
		abort();
	memcpy(all, fixed_options, sizeof(fixed_options));
	for (size_t i = 0; i < sslh_n_protocol_options; i++)
		all[N_FIXED + i] = (struct option){ sslh_protocol_options[i], required_argument, NULL, OPTION_KEY };
	*ret = (struct sslh_options){ 0 };
	dashes_set(argc, argv);
	while (!error && (option = getopt_long_only(argc, argv, "F::v::Vhfint:u:P:C:p:", all, &place)) != -1)
		error = option_take(ret, option, &all[place], argc, argv);
	for (int i = optind; !error && i < argc; i++)
		fprintf(stderr, "usher sslh: warning: `%s' belongs to no option and is left out\n", argv[i]);
	free(all);
	if (error) {
		sslh_usage(stderr);
		sslh_options_fini(ret);
	}
	return error;
}

void sslh_options_fini(struct sslh_options *options)
{
	free(options->arguments);
	*options = (struct sslh_options){ 0 };
}
