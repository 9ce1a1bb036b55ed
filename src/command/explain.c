/* usher explain: which service would take these bytes, and why. This file knows the command line and opens what it names; the
 * others read strangers' bytes once the privileges are gone. */
#include "command.h"
#include "explain_asked.h"
#include "explain_batch.h"
#include "explain_capture.h"
#include "failure.h"
#include "hex.h"
#include "module.h"
#include "process.h"
#include "progress.h"
#include "sandbox.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <jansson.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct explain {
	const char *config;   /* NULL: none */
	const char *listener; /* NULL: the first */
	const char *id;       /* of a connection of the running usher; NULL: none */
	const char *socket;   /* its control socket; NULL: the configuration's, or the usual one */
	struct asked *asked;
	bool json, hex, udp;
	size_t flow;       /* 0: all */
	const char *input; /* "-": standard input */
	char **words;      /* of hex digits */
	bool batch;

	FILE *from;
	struct policy *policy;
	struct explainer *explainer;
};

static bool flow_number(const char *text, size_t *ret)
{
	char *end;

	errno = 0;
	*ret = strtoul(text, &end, 10);
	return isdigit((unsigned char)*text) && !*end && errno == 0 && *ret > 0;
}

static bool option_take(struct explain *explain, int option)
{
	switch (option) {
	case 'c':
		explain->config = optarg;
		return true;
	case 'l':
		explain->listener = optarg;
		return true;
	case 'f':
		return flow_number(optarg, &explain->flow);
	case 'b':
		explain->batch = true;
		explain->input = optarg;
		return true;
	case 'j':
		return explain->json = true;
	case 'x':
		return explain->hex = true;
	case 'u':
		return explain->udp = true;
	case 'i':
		explain->id = optarg;
		return true;
	case 's':
		explain->socket = optarg;
		return true;
	default:
		return false;
	}
}

/* False: that is not how it is used. */
static bool options_read(struct explain *ret, int argc, char **argv)
{
	static const struct option longs[] = {
		{ "batch", required_argument, NULL, 'b' },
		{ "config", required_argument, NULL, 'c' },
		{ "flow", required_argument, NULL, 'f' },
		{ "hex", no_argument, NULL, 'x' },
		{ "id", required_argument, NULL, 'i' },
		{ "json", no_argument, NULL, 'j' },
		{ "listener", required_argument, NULL, 'l' },
		{ "socket", required_argument, NULL, 's' },
		{ "udp", no_argument, NULL, 'u' },
		{ NULL },
	};
	int option;

	while ((option = getopt_long(argc, argv, "c:s:", longs, NULL)) != -1)
		if (!option_take(ret, option))
			return false;
	if (ret->id)
		return optind == argc && !ret->batch && !ret->hex && !ret->udp && !ret->flow && !ret->listener;
	if ((ret->listener && !ret->config) || ret->socket)
		return false;
	if (ret->batch)
		return optind == argc && !ret->hex && !ret->udp && !ret->flow;
	if (ret->hex) {
		ret->words = argv + optind;
		return optind < argc && !ret->flow;
	}
	if (optind + 1 != argc)
		return false;
	ret->input = argv[optind];
	return true;
}

/* ---- what it needs ---- */

static int input_open(struct explain *explain)
{
	bool is_stdin = explain->input && strcmp(explain->input, "-") == 0;

	if (!explain->input)
		return 0;
	if (is_stdin)
		explain->input = "standard input";
	explain->from = is_stdin ? stdin : fopen(explain->input, "re");
	if (explain->from)
		return 0;
	fprintf(stderr, "usher: %s: %s\n", explain->input, strerror(errno));
	return 1;
}

static int config_read(struct explain *explain)
{
	struct complaints complaints = { 0 };
	int error = 0;

	if (!explain->config)
		return 0;
	error = policy_load(
		&explain->policy, explain->config, &(struct policy_options){ .keep_rules = true }, &complaints);
	if (error < 0)
		complaints_print(&complaints, stderr);
	complaints_fini(&complaints);
	return error < 0 ? 2 : 0;
}

static int listener_find(const struct explain *explain, size_t *ret)
{
	const struct policy *policy = explain->policy;
	struct address address;
	bool is_address = explain->listener && address_parse(&address, explain->listener) == 0;

	*ret = EXPLAIN_ANY_LISTENER;
	if (!explain->listener)
		return 0;
	for (size_t i = 0; i < policy->n_listeners; i++) {
		if (strcmp(policy->listeners[i].text, explain->listener) != 0 &&
			!(is_address && address_equal(&policy->listeners[i].address, &address)))
			continue;
		*ret = i;
		return 0;
	}
	fprintf(stderr, "usher: %s: there is no listener `%s'\n", explain->config, explain->listener);
	return 2;
}

#define NOBODY 65534 /* where there is no user of this name */

/* As a worker: root becomes the configuration's user, or nobody. It never stays root. */
static int privileges_drop(const struct policy *policy)
{
	const struct passwd *nobody = getpwnam("nobody");
	bool is_policys = policy && policy->drop_identity && policy->uid != 0;
	uid_t uid = is_policys ? policy->uid : nobody ? nobody->pw_uid : NOBODY;
	gid_t gid = is_policys ? policy->gid : nobody ? nobody->pw_gid : NOBODY;
	int error = process_drop_privileges(getuid() == 0 || geteuid() == 0, uid, gid);

	if (error < 0)
		fprintf(stderr, "usher: privileges cannot be given up: %s\n", failure_text(error));
	return error < 0;
}

static void log_module(const char *path, enum usher_level level, const char *text)
{
	if (level <= USHER_WARNING)
		fprintf(stderr, "usher: module %s: %s\n", path, text);
}

static int modules_bind(const struct policy *policy)
{
	char why[MODULE_ERROR_MAX];

	if (!policy)
		return 0;
	module_set_hooks(&(struct module_hooks){ .log = log_module });
	if (module_bind(policy->modules, policy->n_modules, why, sizeof(why)) == 0)
		return 0;
	fprintf(stderr, "usher: %s\n", why);
	return 1;
}

/* 0 or the exit status, after a message. */
static int explain_prepare(struct explain *explain)
{
	size_t listener;

	int status = config_read(explain);
	if (status == 0)
		status = listener_find(explain, &listener);
	if (status == 0)
		status = input_open(explain);
	if (status == 0)
		status = privileges_drop(explain->policy);
	if (status == 0)
		status = modules_bind(explain->policy);
	if (status != 0)
		return status;
	int error = explainer_new(&explain->explainer, explain->policy, listener);
	if (error < 0) {
		fprintf(stderr, "usher: %s\n", strerror(-error));
		return 1;
	}
	json_object_seed(0); /* from a file */
	progress_count_begin(" packets read");
	error = sandbox_enter_explain();
	if (error < 0) /* of a kernel that has none: no reason to leave bytes unexplained */
		fprintf(stderr, "usher: the sandbox cannot be entered: %s\n", strerror(-error));
	return 0;
}

/* ---- bytes ---- */

static void bytes_explain(const struct explain *explain, const uint8_t *bytes, size_t len)
{
	struct page page;

	explainer_begin(explain->explainer, explain->udp);
	explainer_feed(explain->explainer, bytes, len);
	const struct explanation *explanation = explainer_end(explain->explainer, EXPLAIN_OPEN);
	if (explain->json) {
		explanation_write_json(explanation, "", stdout);
		putchar('\n');
		return;
	}
	page_init(&page, stdout);
	explanation_print(explain->explainer, explanation, &page);
}

/* Digits in words of whatever length, with colons between the bytes or without. */
static int words_explain(const struct explain *explain)
{
	static uint8_t bytes[EVIDENCE_MAX];
	size_t n_digits = 0;

	for (char **word = explain->words; *word; word++) {
		for (const char *c = *word; *c; c++) {
			if (*c == ':' || isspace((unsigned char)*c))
				continue;
			int digit = hex_value(*c);
			if (digit < 0) {
				fprintf(stderr, "usher: --hex %s: expected pairs of hex digits\n", *word);
				return 2;
			}
			if (n_digits < 2 * EVIDENCE_MAX)
				bytes[n_digits / 2] = (uint8_t)(bytes[n_digits / 2] << 4 | digit);
			n_digits++;
		}
	}
	if (n_digits % 2 != 0) {
		fputs("usher: --hex: expected pairs of hex digits\n", stderr);
		return 2;
	}
	bytes_explain(explain, bytes, n_digits / 2 < EVIDENCE_MAX ? n_digits / 2 : EVIDENCE_MAX);
	return 0;
}

static int capture_explain(struct explain *explain)
{
	const struct capture_options options = {
		.json = explain->json, .only = explain->flow, .progress = progress_count
	};
	FILE *from = explain->from;
	struct page page;

	if (explain->udp) {
		fprintf(stderr, "usher: %s: a capture tells UDP from TCP itself, expected no --udp\n",
			explain->input);
		return 2;
	}
	page_init(&page, stdout);
	explain->from = NULL;
	return explain_capture(explain->explainer, from, explain->input, &options, &page);
}

static int file_explain(struct explain *explain)
{
	static uint8_t bytes[EVIDENCE_MAX];
	size_t len = fread(bytes, 1, 4, explain->from);

	if (len == 4 && capture_begins(bytes)) {
		while (len > 0 && ungetc(bytes[len - 1], explain->from) != EOF)
			len--;
		return capture_explain(explain);
	}
	if (len == 4)
		len += fread(bytes + len, 1, sizeof(bytes) - len, explain->from);
	if (ferror(explain->from)) {
		fprintf(stderr, "usher: %s: %s\n", explain->input, strerror(errno));
		return 1;
	}
	if (explain->flow) {
		fprintf(stderr, "usher: %s: not a capture, expected one with --flow\n", explain->input);
		return 2;
	}
	bytes_explain(explain, bytes, len);
	return 0;
}

static int batch_explain(const struct explain *explain)
{
	int r = explain_batch(explain->explainer, fileno(explain->from), stdout);

	if (r < 0)
		fprintf(stderr, "usher: %s: %s\n", explain->input, strerror(-r));
	return r != 0;
}

/* The bytes are the running usher's, and so are configuration and listener where none are named. 0 or the exit status. */
static int connection_ask(struct explain *explain)
{
	int status = explain_asked_new(&explain->asked, explain->id, explain->socket, explain->config);

	if (status != 0)
		return status;
	if (!explain->config)
		explain->config = explain->asked->file;
	explain->listener = explain->asked->listener;
	explain->words = explain->asked->words;
	explain->hex = true;
	if (!explain->json)
		printf("Connection %s came in on %s and is %s; decided for %s%s%s.\n\n", explain->id,
			explain->asked->listener, explain->asked->phase,
			explain->asked->service ? explain->asked->service : "nobody",
			explain->asked->protocol ? " as " : "",
			explain->asked->protocol ? explain->asked->protocol : "");
	return 0;
}

int command_explain(int argc, char **argv)
{
	struct explain explain = { 0 };

	if (!options_read(&explain, argc, argv))
		return command_usage("explain");
	int status = explain.id ? connection_ask(&explain) : 0;
	if (status == 0)
		status = explain_prepare(&explain);
	if (status == 0 && explain.batch)
		status = batch_explain(&explain);
	else if (status == 0)
		status = explain.hex ? words_explain(&explain) : file_explain(&explain);
	if (fflush(stdout) != 0 && status == 0) {
		fprintf(stderr, "usher: standard output: %s\n", strerror(errno));
		status = 1;
	}
	if (explain.from)
		fclose(explain.from);
	explainer_free(explain.explainer);
	policy_free(explain.policy);
	explain_asked_free(explain.asked);
	return status;
}
