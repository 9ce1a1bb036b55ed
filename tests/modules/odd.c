/* Modules that do what no module should, one a build: -DODD_... says which. Without any it is a sound one
 * that answers what its bytes tell it to. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <usher/module.h>

#ifdef ODD_VERSION
const unsigned usher_module_abi = 99;
#elif !defined ODD_NO_VERSION
USHER_MODULE;
#endif

static struct usher_host *host __attribute__((unused));
static uint64_t serial; /* of the last evidence */

#ifdef ODD_LOADING
static void __attribute__((constructor)) loading(void)
{
	raise(SIGSEGV);
}
#endif

/* The first byte says what to answer: 'y', 'n', 'm', '?' an answer that is none, 'c' crash, 'l' log a hundred
 * lines, 's' is the serial another one than at the last call? */
static enum usher_verdict __attribute__((unused))
obey(void *context, const struct usher_evidence *evidence, struct usher_findings *findings)
{
	bool is_new = evidence->serial != serial;

	serial = evidence->serial;
	switch (evidence->bytes[0]) {
	case 'c':
		raise(SIGSEGV);
		return USHER_NO;
	case 'l':
		for (int i = 0; i < 100; i++)
			host->log(host, USHER_NOTICE, "line %d\n", i);
		return USHER_YES;
	case 's':
		return is_new ? USHER_YES : USHER_NO;
	case 'm':
		return USHER_MORE;
	case '?':
		return (enum usher_verdict)77;
	default:
		return evidence->bytes[0] == 'y' ? USHER_YES : USHER_NO;
	}
}

/* ATTRIBUTE ANSWER VALUE: sets one and answers. What setting said is answered too: 'y' means that it was 0.
 * */
static enum usher_verdict __attribute__((unused))
set(void *context, const struct usher_evidence *evidence, struct usher_findings *findings)
{
	if (evidence->len < 2)
		return USHER_MORE;
	unsigned attribute = (unsigned)(evidence->bytes[0] - '0');
	int error = host->attribute_set(findings, attribute, evidence->bytes + 2, evidence->len - 2);
	if (evidence->bytes[1] == 'm')
		return USHER_MORE;
	if (evidence->bytes[1] == '*')
		while (error == 0)
			error = host->attribute_set(findings, attribute, evidence->bytes + 2, evidence->len - 2);
	return error == 0 || error == -ENOSPC ? USHER_YES : USHER_NO;
}

#ifndef ODD_NO_INIT
static int settings_read(void)
{
	const char *text = "";
	int64_t whole = 7;
	double real = 0.5;
	bool yes = false;
	char numbers[64];
	size_t n = host->setting_count(host, "names");

	host->setting_whole(host, "whole", 0, 1, 10, &whole);
	host->setting_real(host, "real", 0, 0, 1, &real);
	host->setting_bool(host, "yes", 0, &yes);
	if (host->setting_string(host, "nowhere", 0, &text) != -ENOENT ||
		(n > 0 && host->setting_string(host, "names", n, &text) != -ENOENT))
		return -EPROTO;
	for (size_t i = 0; i < n; i++) {
		struct usher_probe probe = { .run = obey, .priority = (int)(n - i) };
		if (host->setting_string(host, "names", i, &probe.name) == 0 &&
			host->probe_add(host, &probe) == -EEXIST)
			host->log(host, USHER_WARNING, "does without `%s'", probe.name);
	}
	/* What was read comes back as a probe's name. */
	snprintf(numbers, sizeof(numbers), "read-%d-%g-%d", (int)whole, real, yes);
	return host->probe_add(host, &(struct usher_probe){ .name = numbers, .priority = 1000, .run = obey });
}

int usher_module_init(struct usher_host *given)
{
	host = given;
#ifdef ODD_CRASH
	raise(SIGSEGV);
#elif defined ODD_HANG
	for (;;)
		pause();
#elif defined ODD_EXIT
	_exit(3);
#elif defined ODD_FORK
	if (fork() == 0)
		for (;;)
			pause();
	raise(SIGSEGV);
#elif defined ODD_FAIL
	host->log(host, USHER_ERROR, "no luck today");
	return -EIO;
#elif defined ODD_FAIL_MUTE
	return -EIO;
#elif defined ODD_NOTHING
	return 0;
#elif defined ODD_TWICE
	host->probe_add(host, &(struct usher_probe){ .name = "twice", .run = obey });
	host->probe_add(host, &(struct usher_probe){ .name = "twice", .run = obey });
	return 0;
#elif defined ODD_NAME
	host->probe_add(host, &(struct usher_probe){ .name = "no name", .run = obey });
	return 0;
#elif defined ODD_NO_FUNCTION
	return host->probe_add(host, &(struct usher_probe){ .name = "empty" });
#elif defined ODD_ATTRIBUTE
	return host->probe_add(host, &(struct usher_probe){ .name = "odd", .run = obey, .attributes = 8 });
#elif defined ODD_MANY
	char name[16];
	for (int i = 0; i <= USHER_PROBES_MAX; i++) {
		snprintf(name, sizeof(name), "p%d", i);
		host->probe_add(host, &(struct usher_probe){ .name = name, .run = obey });
	}
	return 0;
#elif defined ODD_SCRIBBLE
	for (int fd = 0; fd < 100; fd++)
		if (write(fd, "R nonsense", 10) < 0)
			continue;
	return host->probe_add(host, &(struct usher_probe){ .name = "fine", .run = obey });
#endif
	int error = host->probe_add(host,
		&(struct usher_probe){
			.name = "set", .run = set, .priority = -1, .attributes = USHER_SETS_SNI | USHER_SETS_ALPN });
	if (error == 0)
		error = host->probe_add(host, &(struct usher_probe){ .name = "obey", .run = obey });
	return error == 0 ? settings_read() : error;
}
#endif
