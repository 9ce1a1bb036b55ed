/* The forms of numbers, and a trial of libconfig with each of them. The build runs the trial too (NUMBERS_TRIAL), so that a library
 * that reads numbers in another way is known before anything is built on it. Refuses nothing itself; owns no memory. */
#include "numbers.h"
#include <ctype.h>
#include <errno.h>
#include <libconfig.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

/* Past the digits at the beginning that `is` knows. */
static size_t span(const char *word, size_t len, int (*is)(int))
{
	size_t n = 0;

	while (n < len && is((unsigned char)word[n]))
		n++;
	return n;
}

static bool is_whole_end(const char *word, size_t len)
{
	return len == 0 || (len == 1 && word[0] == 'L') || (len == 2 && !memcmp(word, "LL", 2));
}

enum number number_form(const char *word, size_t len)
{
	if (len > 2 && word[0] == '0' && (word[1] == 'x' || word[1] == 'X')) {
		size_t digits = span(word + 2, len - 2, isxdigit);
		return digits && is_whole_end(word + 2 + digits, len - 2 - digits) ? NUMBER_HEX : NUMBER_NONE;
	}
	size_t n = span(word, len, isdigit);
	if (n && is_whole_end(word + n, len - n))
		return NUMBER_DECIMAL;
	if (n < len && word[n] == '.')
		n += 1 + span(word + n + 1, len - n - 1, isdigit);
	if (n < len && (word[n] == 'e' || word[n] == 'E'))
		n += 1 + span(word + n + 1, len - n - 1, isdigit);
	return n == len ? NUMBER_REAL : NUMBER_NONE;
}

bool number_is_too_large(const char *word, size_t len)
{
	enum number form = number_form(word, len);
	char digits[32];

	if (form != NUMBER_DECIMAL && form != NUMBER_HEX)
		return false;
	size_t zeros = form == NUMBER_HEX ? 2 : 0;
	while (zeros < len && word[zeros] == '0')
		zeros++;
	if (len - zeros >= sizeof(digits))
		return true;
	memcpy(digits, word + zeros, len - zeros);
	digits[len - zeros] = '\0';
	errno = 0;
	long long value = strtoll(digits, NULL, form == NUMBER_HEX ? 16 : 10);
	return errno == ERANGE || (value > INT_MAX && (form == NUMBER_HEX || word[len - 1] != 'L'));
}

void number_strip_zeros(const char *text, char *word, size_t len)
{
	if (number_form(word, len) != NUMBER_DECIMAL)
		return;
	size_t zeros = strspn(word, "0");
	if (zeros && !isdigit((unsigned char)word[zeros]))
		zeros--; /* the last one is the number */
	if (!zeros)
		return;
	memset(word, ' ', zeros);
	if (word > text && (word[-1] == '-' || word[-1] == '+')) {
		word[zeros - 1] = word[-1];
		word[-1] = ' ';
	}
}

/* ---- the trial ---- */

static const struct {
	const char *text;
	int type, format;
	double value;
} trials[] = {
	{ "0", CONFIG_TYPE_INT, CONFIG_FORMAT_DEFAULT, 0 },
	{ "  660", CONFIG_TYPE_INT, CONFIG_FORMAT_DEFAULT, 660 },
	{ " -8", CONFIG_TYPE_INT, CONFIG_FORMAT_DEFAULT, -8 },
	{ "2147483647", CONFIG_TYPE_INT, CONFIG_FORMAT_DEFAULT, 2147483647 },
	{ "4294967296L", CONFIG_TYPE_INT64, CONFIG_FORMAT_DEFAULT, 4294967296 },
	{ "5LL", CONFIG_TYPE_INT64, CONFIG_FORMAT_DEFAULT, 5 },
	{ "0x1B0", CONFIG_TYPE_INT, CONFIG_FORMAT_HEX, 432 },
	{ "0x7fffffff", CONFIG_TYPE_INT, CONFIG_FORMAT_HEX, 2147483647 },
	{ "1.5", CONFIG_TYPE_FLOAT, CONFIG_FORMAT_DEFAULT, 1.5 },
	{ "010.25", CONFIG_TYPE_FLOAT, CONFIG_FORMAT_DEFAULT, 10.25 },
	{ "1e3", CONFIG_TYPE_FLOAT, CONFIG_FORMAT_DEFAULT, 1000 },
	{ "true", CONFIG_TYPE_BOOL, CONFIG_FORMAT_DEFAULT, 1 },
};

static bool reads_as(config_t *config, size_t trial)
{
	char text[64] = "n = ";

	strcat(strcat(text, trials[trial].text), ";\n");
	if (config_read_string(config, text) != CONFIG_TRUE)
		return false;
	const config_setting_t *n = config_lookup(config, "n");
	if (!n || config_setting_type(n) != trials[trial].type ||
		config_setting_get_format(n) != trials[trial].format)
		return false;
	switch (trials[trial].type) {
	case CONFIG_TYPE_FLOAT:
		return config_setting_get_float(n) == trials[trial].value;
	case CONFIG_TYPE_BOOL:
		return config_setting_get_bool(n) == (int)trials[trial].value;
	default:
		return config_setting_get_int64(n) == (long long)trials[trial].value;
	}
}

const char *numbers_fault(void)
{
	static bool tried;
	static const char *fault;
	config_t config;

	if (tried)
		return fault;
	config_init(&config);
	for (size_t i = 0; i < sizeof(trials) / sizeof(trials[0]) && !fault; i++)
		if (!reads_as(&config, i))
			fault = trials[i].text;
	config_destroy(&config);
	tried = true;
	return fault;
}

#ifdef NUMBERS_TRIAL
int main(void)
{
	return numbers_fault() != NULL;
}
#endif
