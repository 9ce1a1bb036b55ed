/* Where sslh's messages go and how many of them there are, as usher's `log'.
 *
 * sslh has eleven classes of messages and for each a sum of 1 (standard error), 2 (syslog) and 4 (the log file);
 * usher has levels and one place. The classes of errors are in every level; connections make it "info"; what
 * follows connections on their way makes it "debug". Refuses a facility that syslog does not know. */
#include "sslh_write.h"
#include <string.h>

enum { TO_STDERR = 1, TO_SYSLOG = 2, TO_FILE = 4 };

#define PRESET (TO_STDERR | TO_SYSLOG)

/* What a class says where the configuration says nothing, and what it is worth to usher. */
static const struct {
	long preset;
	const char *level; /* the least one that has it; NULL: every one */
} classes[SSLH_CLASS_COUNT] = {
	[SSLH_CONFIG] = { 0, NULL },
	[SSLH_CONFIG_ERROR] = { PRESET, NULL },
	[SSLH_CONNECTIONS] = { PRESET, "info" },
	[SSLH_CONNECTIONS_TRY] = { 0, "debug" },
	[SSLH_CONNECTIONS_ERROR] = { PRESET, "info" },
	[SSLH_FD] = { 0, "debug" },
	[SSLH_PACKETS] = { 0, "debug" },
	[SSLH_PROBE_INFO] = { 0, "debug" },
	[SSLH_PROBE_ERROR] = { PRESET, NULL },
	[SSLH_SYSTEM_ERROR] = { PRESET, NULL },
	[SSLH_INT_ERROR] = { PRESET, NULL },
};

static long class_of(const struct sslh_config *config, size_t which)
{
	if (config->verbose.given && config->verbose.value)
		return config->verbose.value;
	return config->classes[which].given ? config->classes[which].value : classes[which].preset;
}

static const char *level_of(const struct sslh_config *config)
{
	const char *level = "notice";

	for (size_t i = 0; i < SSLH_CLASS_COUNT; i++) {
		if (!class_of(config, i) || !classes[i].level)
			continue;
		if (strcmp(classes[i].level, "debug") == 0)
			return "debug";
		level = classes[i].level;
	}
	return level;
}

/* The kernel's is not for programs; sslh makes no difference between the two names of the first one. */
static const char *facility_of(const struct sslh_translation *translation)
{
	static const char *const known[] = { "auth", "authpriv", "cron", "daemon", "ftp", "lpr", "mail", "news",
		"syslog", "user", "uucp", "local0", "local1", "local2", "local3", "local4", "local5", "local6",
		"local7", "none" };
	const struct sslh_text *facility = &translation->config->syslog_facility;

	if (!facility->text || strcmp(facility->text, "security") == 0)
		return "auth";
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (strcmp(known[i], facility->text) == 0)
			return known[i];
	sslh_refuse(translation, facility->line,
		"`syslog_facility' is \"%s\", expected one such as \"auth\" or \"none\"", facility->text);
	return "auth";
}

static const char *places_text(long places)
{
	static const char *const texts[] = { "", "standard error", "syslog", "standard error and syslog",
		"the log file", "standard error and the log file", "syslog and the log file",
		"standard error, syslog and the log file" };
	return texts[places & (TO_STDERR | TO_SYSLOG | TO_FILE)];
}

void sslh_write_log(const struct sslh_translation *translation)
{
	const struct sslh_config *config = translation->config;
	struct writer *writer = translation->writer;
	const char *facility = facility_of(translation);
	bool syslog = strcmp(facility, "none") != 0;
	long places = 0;

	for (size_t i = 0; i < SSLH_CLASS_COUNT; i++)
		places |= class_of(config, i);
	if (!syslog)
		places &= ~TO_SYSLOG;
	if (!translation->foreground || translation->inetd)
		places &= ~TO_STDERR;
	if (!config->logfile.text)
		places &= ~TO_FILE;
	if (places & TO_FILE && places != TO_FILE)
		sslh_warn(translation, config->logfile.line, "the log goes to the log file only, not to %s",
			places_text(places));
	writer_raw(writer, "log = { level = \"%s\"; ", level_of(config));
	if (places & TO_FILE) {
		writer_from(writer, config->logfile.line);
		writer_path(writer, "to", config->logfile.text);
	} else if (places & TO_STDERR || (translation->foreground && !syslog)) {
		writer_raw(writer, "to = \"stderr\";");
	} else if (syslog) {
		writer_from(writer, config->syslog_facility.line);
		writer_raw(writer, "to = \"syslog\"; facility = \"%s\";", facility);
	} else {
		writer_raw(writer, "to = \"/dev/null\";");
	}
	writer_raw(writer, " };\n");
	writer_from(writer, 0);
}
