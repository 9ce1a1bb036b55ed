/* Answers with SRV records: what name servers say, and what only strangers do. */
#include "srv_answer.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum { A = 1, CNAME = 5, AAAA = 28, SRV = 33 };

/* ---- a message, as a name server would write it ---- */

static struct message {
	size_t len;
	uint8_t bytes[65535];
} message;

static void put(const void *bytes, size_t len)
{
	memcpy(message.bytes + message.len, bytes, len);
	message.len += len;
}

static void put_u16(unsigned value)
{
	put((uint8_t[]){ (uint8_t)(value >> 8), (uint8_t)value }, 2);
}

/* "a.test"; a number in place of a label is a pointer: "a.@12". */
static void put_name(const char *name)
{
	while (*name && *name != '@') {
		size_t len = strcspn(name, ".");
		put((uint8_t[]){ (uint8_t)len }, 1);
		put(name, len);
		name += len + (name[len] == '.');
	}
	if (*name == '@')
		put_u16(0xc000u | (unsigned)atoi(name + 1));
	else
		put("", 1);
}

static void count_one(size_t section)
{
	message.bytes[4 + 2 * section + 1]++;
	if (message.bytes[4 + 2 * section + 1] == 0)
		message.bytes[4 + 2 * section]++;
}

static void begin(void)
{
	memset(&message, 0, sizeof(message));
	put("\x12\x34\x81\x80\0\0\0\0\0\0\0\0", 12);
	count_one(0);
	put_name("_web._tcp.example.test"); /* at 12; "example.test" is at 22 */
	put_u16(SRV);
	put_u16(1);
}

static void put_head(size_t section, const char *owner, unsigned type, unsigned ttl)
{
	count_one(section);
	put_name(owner);
	put_u16(type);
	put_u16(1);
	put_u16(ttl >> 16);
	put_u16(ttl & 0xffff);
}

static void put_srv(unsigned ttl, unsigned priority, unsigned weight, unsigned port, const char *target)
{
	put_head(1, "@12", SRV, ttl);
	size_t at = message.len;
	put_u16(0);
	put_u16(priority);
	put_u16(weight);
	put_u16(port);
	put_name(target);
	message.bytes[at] = (uint8_t)((message.len - at - 2) >> 8);
	message.bytes[at + 1] = (uint8_t)(message.len - at - 2);
}

static void put_address(unsigned ttl, const char *owner, const char *text)
{
	uint8_t bytes[16];
	bool v6 = strchr(text, ':');

	assert_int_equal(inet_pton(v6 ? AF_INET6 : AF_INET, text, bytes), 1);
	put_head(3, owner, v6 ? AAAA : A, ttl);
	put_u16(v6 ? 16 : 4);
	put(bytes, v6 ? 16 : 4);
}

/* ---- what is read ---- */

static struct srv_answer answer;

static bool takes_from_8000(const void *context, uint16_t port)
{
	return port >= 8000;
}

/* "192.0.2.1:8001 w1 r0, ..." */
static const char *addresses(bool (*takes)(const void *context, uint16_t port), size_t *ret_refused)
{
	static char text[RESOLVED_ADDRESSES_MAX * 80];
	struct resolved_address all[RESOLVED_ADDRESSES_MAX];
	char one[ADDRESS_TEXT_MAX], *end = text;
	size_t n = srv_answer_addresses(&answer, takes, NULL, all, ret_refused);

	*end = '\0';
	for (size_t i = 0; i < n; i++)
		end += sprintf(end, "%s%s w%u r%u", i ? ", " : "", address_format(&all[i].address, one),
			all[i].weight, all[i].rank);
	return text;
}

static void read_whole(const char *expected)
{
	size_t refused;

	assert_int_equal(srv_answer_read(message.bytes, message.len, &answer), 0);
	assert_string_equal(addresses(NULL, &refused), expected);
}

static void lower_priorities_come_first_and_addresses_come_along(void **state)
{
	begin();
	put_srv(60, 20, 0, 8003, "late.@22");
	put_srv(50, 10, 1, 8002, "b.@22");
	put_srv(60, 10, 1, 8001, "A.@22");
	put_address(40, "a.@22", "192.0.2.1");
	put_address(45, "b.@22", "192.0.2.2");
	put_address(60, "late.@22", "2001:db8::3");
	put_address(1, "other.@22", "192.0.2.66");
	read_whole("192.0.2.1:8001 w1 r0, 192.0.2.2:8002 w1 r0, [2001:db8::3]:8003 w1 r1");
	assert_int_equal(answer.ttl_s, 40);
}

static void targets_without_addresses_are_to_be_asked_for(void **state)
{
	begin();
	put_srv(60, 0, 0, 443, "a.elsewhere.test");
	read_whole("");
	assert_int_equal(answer.n, 1);
	assert_string_equal(answer.targets[0].host, "a.elsewhere.test");
	assert_int_equal(answer.targets[0].n, 0);
}

/* Both families of one machine are not twice the machine. */
static void addresses_of_a_target_share_its_weight(void **state)
{
	begin();
	put_srv(60, 0, 10, 80, "two.@22");
	put_srv(60, 0, 30, 80, "three.@22");
	put_address(60, "two.@22", "192.0.2.1");
	put_address(60, "two.@22", "2001:db8::1");
	put_address(60, "three.@22", "192.0.2.2");
	read_whole("192.0.2.2:80 w6 r0, 192.0.2.1:80 w1 r0, [2001:db8::1]:80 w1 r0");
}

static void weights_are_made_small(void **state)
{
	begin();
	put_srv(60, 0, 65535, 1, "a.@22");
	put_srv(60, 0, 1, 2, "a.@22");
	put_srv(60, 1, 0, 3, "a.@22");
	put_srv(60, 1, 100, 4, "a.@22");
	put_srv(60, 2, 33, 5, "a.@22");
	put_srv(60, 2, 33, 6, "a.@22");
	put_address(60, "a.@22", "192.0.2.1");
	read_whole(
		"192.0.2.1:1 w256 r0, 192.0.2.1:2 w1 r0, 192.0.2.1:3 w1 r1, 192.0.2.1:4 w256 r1, 192.0.2.1:5 w1 r2, "
		"192.0.2.1:6 w1 r2");
}

static void the_root_alone_withdraws_the_service(void **state)
{
	begin();
	put_srv(600, 0, 0, 0, "");
	assert_int_equal(srv_answer_read(message.bytes, message.len, &answer), 0);
	assert_true(answer.withdrawn);
	assert_int_equal(answer.ttl_s, 600);
	put_srv(60, 0, 0, 80, "a.@22");
	assert_int_equal(srv_answer_read(message.bytes, message.len, &answer), 0);
	assert_false(answer.withdrawn);
}

static void an_answer_without_records_is_none(void **state)
{
	begin();
	assert_int_equal(srv_answer_read(message.bytes, message.len, &answer), -ENODATA);
	put_head(1, "@12", CNAME, 5);
	put_u16(2);
	put_u16(0xc000 | 22);
	assert_int_equal(srv_answer_read(message.bytes, message.len, &answer), -ENODATA);
	put_srv(60, 0, 0, 0, "a.@22");           /* a port that nobody has */
	put_srv(60, 0, 0, 80, "not a host.@22"); /* would be written to the log */
	assert_int_equal(srv_answer_read(message.bytes, message.len, &answer), -ENODATA);
	put_srv(60, 0, 0, 80, "b.@22");
	assert_int_equal(srv_answer_read(message.bytes, message.len, &answer), 0);
	assert_int_equal(answer.n, 1);
	assert_int_equal(answer.ttl_s, 5);
}

static void records_with_other_ports_are_counted(void **state)
{
	size_t refused;

	begin();
	put_srv(60, 0, 0, 22, "a.@22");
	put_srv(60, 1, 0, 8001, "a.@22");
	put_srv(60, 2, 0, 7999, "a.@22");
	put_address(60, "a.@22", "192.0.2.1");
	assert_int_equal(srv_answer_read(message.bytes, message.len, &answer), 0);
	assert_string_equal(addresses(takes_from_8000, &refused), "192.0.2.1:8001 w1 r0");
	assert_int_equal(refused, 2);
}

/* Name servers rotate their answers. */
static void of_too_many_the_same_ones_stay(void **state)
{
	static const unsigned starts[] = { 0, 150, 299 };
	struct srv_answer first;

	for (size_t s = 0; s < 3; s++) {
		begin();
		for (unsigned i = 0; i < 300; i++)
			put_srv(60, (starts[s] + i) % 300 < 10 ? 1 : 0, 0, 1000 + (starts[s] + i) % 300, "a.@22");
		put_address(60, "a.@22", "192.0.2.1");
		assert_int_equal(srv_answer_read(message.bytes, message.len, &answer), 0);
		assert_int_equal(answer.n, SRV_TARGETS_MAX);
		assert_int_equal(answer.left_out, 300 - SRV_TARGETS_MAX);
		assert_int_equal(answer.targets[0].port, 1010);
		if (s == 0)
			first = answer;
		for (size_t i = 0; i < answer.n; i++)
			assert_int_equal(answer.targets[i].port, first.targets[i].port);
	}
}

static void what_is_cut_or_loops_is_refused(void **state)
{
	begin();
	put_srv(60, 0, 0, 80, "a.@22");
	for (size_t len = 0; len < message.len; len++)
		assert_true(srv_answer_read(message.bytes, len, &answer) < 0);
	begin();
	char here[16];
	snprintf(here, sizeof(here), "@%zu", message.len + 18); /* the target is a pointer to itself */
	put_srv(60, 0, 0, 80, here);
	assert_int_equal(srv_answer_read(message.bytes, message.len, &answer), -EBADMSG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lower_priorities_come_first_and_addresses_come_along),
		cmocka_unit_test(targets_without_addresses_are_to_be_asked_for),
		cmocka_unit_test(addresses_of_a_target_share_its_weight),
		cmocka_unit_test(weights_are_made_small),
		cmocka_unit_test(the_root_alone_withdraws_the_service),
		cmocka_unit_test(an_answer_without_records_is_none),
		cmocka_unit_test(records_with_other_ports_are_counted),
		cmocka_unit_test(of_too_many_the_same_ones_stay),
		cmocka_unit_test(what_is_cut_or_loops_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
