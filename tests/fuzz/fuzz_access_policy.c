/* A policy of usher-access of any text: it is taken or complained of, and what is taken judges any client. Text that includes
 * files is left out. */
#include "access_policy.h"
#include "libconfig_text.h"
#include <arpa/inet.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static void rule_judge(const struct access_policy *policy, const struct access_rule *rule)
{
	static const char *const clients[] = { "192.0.2.1:1", "[2001:db8::1]:1", "[::ffff:198.51.100.7]:1",
		"unix:/x" };

	for (size_t i = 0; i < sizeof(clients) / sizeof(clients[0]); i++) {
		struct address client;
		require(address_parse(&client, clients[i]) == 0);
		const char *refused = access_judge(&rule->access, &client, false, 1780000000);
		require(!refused || *refused);
		access_source(&client);
	}
	for (size_t i = 0; i < rule->n_protocols; i++)
		require(access_policy_find(policy, rule->protocols[i]) != NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct complaints complaints = { 0 };
	struct access_policy *policy = NULL;

	char *text = libconfig_text(data, size);
	if (!text)
		return 0;
	int error = access_policy_load_text(&policy, "access.conf", text, size, &complaints);
	require((error == 0) == (complaints.errors == 0) && (error == 0) == (policy != NULL));
	for (size_t i = 0; policy && i < policy->n_rules; i++)
		rule_judge(policy, &policy->rules[i]);
	require(!policy || policy->state[0] == '/');
	access_policy_free(policy);
	complaints_fini(&complaints);
	free(text);
	return 0;
}
