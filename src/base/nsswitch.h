/* The line `hosts:' of nsswitch.conf(5): which names can be looked up by a DNS client of our own, and which only the C library finds, by
 * modules of other packages (mDNS, virtual machines, directories). */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#define NSSWITCH_FILE         "/etc/nsswitch.conf"
#define NSSWITCH_SERVICES_MAX 16
#define NSSWITCH_NAME_MAX     32
#define NSSWITCH_TEXT_MAX     640

struct nsswitch {
	size_t n;
	char services[NSSWITCH_SERVICES_MAX][NSSWITCH_NAME_MAX]; /* letters, digits, '_' and '-'; in their order */
};

enum nsswitch_way {
	NSSWITCH_OWN,    /* the hosts file and DNS, as far as the line has them */
	NSSWITCH_THEN,   /* the same, and then the C library */
	NSSWITCH_CALLED, /* the C library: a service before DNS may know the name */
};

/* Without the file, or a line that can be used: files, then dns. Words of a line that are no names of services are passed over. */
void nsswitch_parse(const char *text, struct nsswitch *ret);
void nsswitch_read(struct nsswitch *ret);

/* Services that are known to answer for some names only (mdns*: below .local; myhostname: this machine) count for those. */
enum nsswitch_way nsswitch_way(const struct nsswitch *nsswitch, const char *name);

/* As c-ares has it: 'f' for the hosts file, 'b' for DNS, in the order of the line; "f" where there is neither. */
void nsswitch_lookups(const struct nsswitch *nsswitch, char ret[3]);

/* Is it one that only the C library has? */
bool nsswitch_is_foreign(const char *service);

/* How a name is looked up, for people. */
const char *nsswitch_describe(const struct nsswitch *nsswitch, const char *name, char ret[NSSWITCH_TEXT_MAX]);
