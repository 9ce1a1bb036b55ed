/* Reads sniproxy's configuration file, as version 0.6.0 does: words, ended by white space, `;', `#' and braces; statements, ended by `;' or a
 * line's end; blocks in braces. A backslash takes the next byte as it is, and is dropped itself, also in patterns; what is in double quotes
 * is one word. A keyword may be shortened.
 *
 * Refuses unknown keywords, all at once and with the line. Owns what it returns until sniproxy_file_fini(). */
#include "sniproxy_read.h"
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define WORDS_MAX 4

enum token { TOKEN_END, TOKEN_WORD, TOKEN_OPEN, TOKEN_CLOSE, TOKEN_EOF };

struct reading {
	struct sniproxy_file *file;
	const char *name, *at, *end;
	unsigned line;
	char *word; /* of TOKEN_WORD, whose memory is this one's */
	struct complaints *complaints;
};

#define refuse(reading, at, ...)                                                                                     \
	complaint_add((reading)->complaints, COMPLAINT_ERROR, (reading)->name, at, __VA_ARGS__)

/* ---- words ---- */

static void read_word(struct reading *reading)
{
	size_t n = 0, room = (size_t)(reading->end - reading->at) + 1;
	bool quoted = false;

	free(reading->word);
	reading->word = malloc(room);
	if (!reading->word)
		abort();
	for (; reading->at < reading->end && *reading->at != '\n' && *reading->at; reading->at++) {
		char c = *reading->at;
		if (c == '"') {
			quoted = !quoted;
		} else if (c == '\\' && reading->at + 1 < reading->end && reading->at[1] != '\n' && reading->at[1]) {
			reading->word[n++] = *++reading->at;
		} else if (!quoted && strchr(" \t\r;#{}", c)) {
			break;
		} else {
			reading->word[n++] = c;
		}
	}
	reading->word[n] = '\0';
}

static enum token read_token(struct reading *reading)
{
	while (reading->at < reading->end) {
		char c = *reading->at;
		if (c == '#') {
			while (reading->at < reading->end && *reading->at != '\n')
				reading->at++;
			continue;
		}
		if (c == '\0' || strchr(" \t\r", c)) {
			if (c == '\0')
				refuse(reading, reading->line, "a NUL byte, expected text");
			reading->at++;
			continue;
		}
		if (strchr(";\n{}", c)) {
			reading->at++;
			reading->line += c == '\n';
			return c == '{' ? TOKEN_OPEN : c == '}' ? TOKEN_CLOSE : TOKEN_END;
		}
		read_word(reading);
		return TOKEN_WORD;
	}
	return TOKEN_EOF;
}

/* ---- statements ---- */

struct statement {
	struct sniproxy_value words[WORDS_MAX];
	size_t n;
	bool opens;  /* a block is behind it */
	bool closes; /* it is the end of one, and has no words unless it is its last statement */
	bool is_last;
};

static void statement_fini(struct statement *statement)
{
	for (size_t i = 0; i < WORDS_MAX; i++)
		free(statement->words[i].text);
}

static void take(struct sniproxy_value *to, struct sniproxy_value *from)
{
	free(to->text);
	*to = *from;
	from->text = NULL;
}

static void read_statement(struct reading *reading, struct statement *ret)
{
	*ret = (struct statement){ 0 };
	for (;;) {
		unsigned line = reading->line;
		enum token token = read_token(reading);
		if (token == TOKEN_WORD && ret->n < WORDS_MAX) {
			ret->words[ret->n++] = (struct sniproxy_value){ strdup(reading->word), reading->line };
			if (!ret->words[ret->n - 1].text)
				abort();
			continue;
		}
		if (token == TOKEN_WORD) {
			refuse(reading, line, "`%s' is too much, expected `;' or the end of the line", reading->word);
			continue;
		}
		if (token == TOKEN_END && ret->n == 0)
			continue;
		ret->opens = token == TOKEN_OPEN;
		ret->closes = token == TOKEN_CLOSE;
		ret->is_last = token == TOKEN_EOF;
		return;
	}
}

/* A keyword of the list, which is what it begins with; -1: none. */
static int keyword(struct reading *reading, const struct statement *statement, const char *const *list)
{
	const char *word = statement->words[0].text;
	char expected[256] = "";

	for (int i = 0; list[i]; i++) {
		if (strncasecmp(list[i], word, strlen(word)) == 0)
			return i;
		strcat(strcat(expected, i ? ", " : ""), list[i]);
	}
	refuse(reading, statement->words[0].line, "unknown keyword `%s', expected one of %s", word, expected);
	return -1;
}

/* Of the block whose brace was read: one statement after the other. */
static bool block_next(struct reading *reading, struct statement *ret, unsigned begun)
{
	read_statement(reading, ret);
	if (ret->is_last)
		refuse(reading, begun, "the block has no end, expected `}'");
	if (ret->opens)
		refuse(reading, reading->line, "a block in a block that has none, expected a statement");
	return ret->n > 0;
}

/* `keyword value' to its place. */
static void assign(struct reading *reading, struct statement *statement, const char *const *list,
	struct sniproxy_value *const *places)
{
	int number = keyword(reading, statement, list);

	if (number < 0)
		return;
	if (statement->n != 2)
		refuse(reading, statement->words[0].line, "`%s' has %zu values, expected one", list[number],
			statement->n - 1);
	else
		take(places[number], &statement->words[1]);
}

static void read_log(struct reading *reading, struct sniproxy_log *ret, unsigned line)
{
	static const char *const list[] = { "filename", "syslog", "priority", NULL };
	struct sniproxy_value *const places[] = { &ret->filename, &ret->syslog, &ret->priority };
	struct statement statement;
	bool more = true, ends = false;

	ret->line = line;
	while (more && !ends) {
		more = block_next(reading, &statement, line);
		if (more)
			assign(reading, &statement, list, places);
		ends = statement.closes || statement.is_last;
		statement_fini(&statement);
	}
}

static void read_resolver(struct reading *reading, unsigned line)
{
	static const char *const list[] = { "nameserver", "search", "mode", NULL };
	struct sniproxy_file *file = reading->file;
	struct sniproxy_value *const places[] = { &file->nameserver, &file->search, &file->mode };
	struct statement statement;
	bool more = true, ends = false;

	while (more && !ends) {
		more = block_next(reading, &statement, line);
		if (more)
			assign(reading, &statement, list, places);
		ends = statement.closes || statement.is_last;
		statement_fini(&statement);
	}
}

static void read_listener(struct reading *reading, struct statement *head)
{
	static const char *const list[] = { "protocol", "reuseport", "ipv6_v6only", "table", "fallback", "source",
		"bad_requests", "access_log", NULL };
	struct sniproxy_file *file = reading->file;
	struct statement statement;
	bool ends = false;

	file->listeners = reallocarray(file->listeners, file->n_listeners + 1, sizeof(*file->listeners));
	if (!file->listeners)
		abort();
	struct sniproxy_listener *ret = &file->listeners[file->n_listeners++];
	*ret = (struct sniproxy_listener){ 0 };
	struct sniproxy_value *const places[] = { &ret->protocol, &ret->reuseport, &ret->v6only, &ret->table,
		&ret->fallback, &ret->source, &ret->bad_requests };
	unsigned line = head->words[0].line;
	if (head->n != 2)
		refuse(reading, line, "a listener with %zu addresses, expected one", head->n - 1);
	else
		take(&ret->address, &head->words[1]);
	while (!ends) {
		read_statement(reading, &statement);
		if (statement.is_last)
			refuse(reading, line, "the listener has no end, expected `}'");
		int number = statement.n ? keyword(reading, &statement, list) : -1;
		if (statement.opens && number == 7)
			read_log(reading, &ret->log, statement.words[0].line);
		else if (statement.opens)
			refuse(reading, reading->line, "a block where none can be, expected `access_log' before it");
		else if (number >= 0 && number < 7 && statement.n >= 2) /* `fallback ADDRESS proxy_protocol' too */
			take(places[number], &statement.words[1]);
		else if (number >= 0)
			refuse(reading, statement.words[0].line, "`%s' has no value, expected one", list[number]);
		ends = statement.closes || statement.is_last;
		statement_fini(&statement);
	}
}

static void read_table(struct reading *reading, struct statement *head)
{
	struct sniproxy_file *file = reading->file;
	struct statement statement;
	unsigned line = head->words[0].line;
	bool ends = false;

	file->tables = reallocarray(file->tables, file->n_tables + 1, sizeof(*file->tables));
	if (!file->tables)
		abort();
	struct sniproxy_table *ret = &file->tables[file->n_tables++];
	*ret = (struct sniproxy_table){ .name.line = line };
	if (head->n > 1)
		take(&ret->name, &head->words[1]);
	else if (!(ret->name.text = strdup("")))
		abort();
	while (!ends) {
		bool more = block_next(reading, &statement, line);
		ends = statement.closes || statement.is_last;
		if (more && statement.n == 1) {
			refuse(reading, statement.words[0].line, "`%s' has no server, expected `PATTERN SERVER'",
				statement.words[0].text);
		} else if (more) {
			ret->entries = reallocarray(ret->entries, ret->n_entries + 1, sizeof(*ret->entries));
			if (!ret->entries)
				abort();
			struct sniproxy_entry *entry = &ret->entries[ret->n_entries++];
			*entry = (struct sniproxy_entry){ 0 };
			take(&entry->pattern, &statement.words[0]);
			take(&entry->target, &statement.words[1]);
			take(&entry->option, &statement.words[2]);
		}
		statement_fini(&statement);
	}
}

static void read_top(struct reading *reading, struct statement *statement)
{
	static const char *const list[] = { "username", "groupname", "pidfile", "resolver", "error_log", "access_log",
		"listener", "table", NULL };
	struct sniproxy_file *file = reading->file;
	struct sniproxy_value *const places[] = { &file->user, &file->group, &file->pidfile };
	int number = keyword(reading, statement, list);
	unsigned line = statement->words[0].line;

	if (number < 0)
		return;
	if ((number > 2) != statement->opens) {
		refuse(reading, line,
			number > 2 ? "`%s' without a block, expected `{' behind it"
				   : "`%s' with a block, expected a value",
			list[number]);
		return;
	}
	if (number <= 2)
		assign(reading, statement, list, places);
	else if (number == 3)
		read_resolver(reading, line);
	else if (number <= 5)
		read_log(reading, number == 4 ? &file->error_log : &file->access_log, line);
	else if (number == 6)
		read_listener(reading, statement);
	else
		read_table(reading, statement);
}

void sniproxy_read(
	struct sniproxy_file *ret, const char *file, const char *text, size_t len, struct complaints *complaints)
{
	struct reading reading = {
		.file = ret, .name = file, .at = text, .end = text + len, .line = 1, .complaints = complaints
	};
	struct statement statement;

	do {
		read_statement(&reading, &statement);
		if (statement.closes)
			refuse(&reading, reading.line, "a `}' too many, expected a statement");
		else if (statement.n == 0 && statement.opens)
			refuse(&reading, reading.line, "a `{' too many, expected a statement");
		else if (statement.n > 0)
			read_top(&reading, &statement);
		statement_fini(&statement);
	} while (!statement.is_last);
	free(reading.word);
}

static void log_fini(struct sniproxy_log *log)
{
	free(log->filename.text);
	free(log->syslog.text);
	free(log->priority.text);
}

void sniproxy_file_fini(struct sniproxy_file *file)
{
	for (size_t i = 0; i < file->n_listeners; i++) {
		struct sniproxy_listener *listener = &file->listeners[i];
		struct sniproxy_value *values[] = { &listener->address, &listener->protocol, &listener->table,
			&listener->fallback, &listener->source, &listener->reuseport, &listener->v6only,
			&listener->bad_requests };
		for (size_t k = 0; k < sizeof(values) / sizeof(values[0]); k++)
			free(values[k]->text);
		log_fini(&listener->log);
	}
	for (size_t i = 0; i < file->n_tables; i++) {
		for (size_t k = 0; k < file->tables[i].n_entries; k++) {
			free(file->tables[i].entries[k].pattern.text);
			free(file->tables[i].entries[k].target.text);
			free(file->tables[i].entries[k].option.text);
		}
		free(file->tables[i].name.text);
		free(file->tables[i].entries);
	}
	free(file->listeners);
	free(file->tables);
	free(file->user.text);
	free(file->group.text);
	free(file->pidfile.text);
	free(file->nameserver.text);
	free(file->search.text);
	free(file->mode.text);
	log_fini(&file->error_log);
	log_fini(&file->access_log);
	*file = (struct sniproxy_file){ 0 };
}
