/* nsswitch.conf: which names are looked up by whom, in every kind of line that distributions have. */
#include "nsswitch.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void each_name_has_its_way(void **state)
{
	static const struct {
		const char *text, *lookups;
		enum nsswitch_way plain, local, own; /* of app.test, printer.local and this machine's name */
	} lines[] = {
		{ "", "fb", NSSWITCH_OWN, NSSWITCH_OWN, NSSWITCH_OWN },
		{ "hosts:", "fb", NSSWITCH_OWN, NSSWITCH_OWN, NSSWITCH_OWN },
		{ "passwd: sss\nhosts: files dns\n", "fb", NSSWITCH_OWN, NSSWITCH_OWN, NSSWITCH_OWN },
		{ "hosts:dns files", "bf", NSSWITCH_OWN, NSSWITCH_OWN, NSSWITCH_OWN },
		{ "hosts: files", "f", NSSWITCH_OWN, NSSWITCH_OWN, NSSWITCH_OWN },
		{ "# hosts: sss\n hosts:\tfiles dns # sss", "fb", NSSWITCH_OWN, NSSWITCH_OWN, NSSWITCH_OWN },
		{ "hosts: files mdns4_minimal [NOTFOUND=return] dns\n", "fb", NSSWITCH_OWN, NSSWITCH_CALLED,
			NSSWITCH_OWN },
		{ "hosts: files dns mdns4\n", "fb", NSSWITCH_OWN, NSSWITCH_THEN, NSSWITCH_OWN },
		{ "hosts: files myhostname dns", "fb", NSSWITCH_OWN, NSSWITCH_OWN, NSSWITCH_CALLED },
		{ "hosts: files dns myhostname", "fb", NSSWITCH_OWN, NSSWITCH_OWN, NSSWITCH_THEN },
		{ "hosts: mymachines resolve [!UNAVAIL=return] files myhostname dns", "fb", NSSWITCH_CALLED,
			NSSWITCH_CALLED, NSSWITCH_CALLED },
		{ "hosts: files [ SUCCESS=continue NOTFOUND=continue ] dns libvirt", "fb", NSSWITCH_THEN,
			NSSWITCH_THEN, NSSWITCH_THEN },
		{ "hosts: sss", "f", NSSWITCH_CALLED, NSSWITCH_CALLED, NSSWITCH_CALLED },
		{ "hosts: files dns [sss", "fb", NSSWITCH_OWN, NSSWITCH_OWN, NSSWITCH_OWN },
		{ "hosts: ../../tmp/x files dns", "fb", NSSWITCH_CALLED, NSSWITCH_CALLED, NSSWITCH_CALLED },
		{ "hostsx: sss", "fb", NSSWITCH_OWN, NSSWITCH_OWN, NSSWITCH_OWN },
	};
	char lookups[3], host[256] = "";

	gethostname(host, sizeof(host) - 1);
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		struct nsswitch nsswitch;
		nsswitch_parse(lines[i].text, &nsswitch);
		nsswitch_lookups(&nsswitch, lookups);
		if (strcmp(lookups, lines[i].lookups) != 0 || nsswitch_way(&nsswitch, "app.test") != lines[i].plain ||
			nsswitch_way(&nsswitch, "Printer.LOCAL.") != lines[i].local ||
			nsswitch_way(&nsswitch, host) != lines[i].own)
			fail_msg("%s: %s %d %d %d", lines[i].text, lookups, nsswitch_way(&nsswitch, "app.test"),
				nsswitch_way(&nsswitch, "printer.local"), nsswitch_way(&nsswitch, host));
		for (size_t k = 0; k < nsswitch.n; k++)
			assert_null(strpbrk(nsswitch.services[k], "/. \t[]"));
	}
}

static void more_services_than_there_is_room_for_are_left_out(void **state)
{
	char text[4096] = "hosts: files", said[NSSWITCH_TEXT_MAX];
	struct nsswitch nsswitch;

	for (int i = 0; i < 60; i++)
		snprintf(strchr(text, '\0'), 64, " a-name-of-thirty-one-bytes-%04d", i);
	nsswitch_parse(text, &nsswitch);
	assert_int_equal(nsswitch.n, NSSWITCH_SERVICES_MAX);
	assert_true(strlen(nsswitch_describe(&nsswitch, "app.test", said)) < sizeof(said));
}

static void a_way_can_be_told(void **state)
{
	struct nsswitch nsswitch;
	char said[NSSWITCH_TEXT_MAX];

	nsswitch_parse("hosts: files mdns4_minimal [NOTFOUND=return] dns libvirt", &nsswitch);
	assert_string_equal(nsswitch_describe(&nsswitch, "printer.local", said),
		"the system's resolver (files mdns4_minimal dns libvirt)");
	assert_string_equal(nsswitch_describe(&nsswitch, "vm", said),
		"/etc/hosts, then DNS, then the system's resolver (files mdns4_minimal dns libvirt)");
	nsswitch_parse("hosts: files dns", &nsswitch);
	assert_string_equal(nsswitch_describe(&nsswitch, "vm", said), "/etc/hosts, then DNS");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_name_has_its_way),
		cmocka_unit_test(more_services_than_there_is_room_for_are_left_out),
		cmocka_unit_test(a_way_can_be_told),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
