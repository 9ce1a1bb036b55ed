/* Lists of addresses and networks, as `allow', `deny' and `accept_proxy' have them. */
#pragma once
#include "address_set.h"
#include "arena.h"
#include "reader.h"

struct address_list {
	const struct address_set *set;
	bool unix_clients; /* "unix:" was in it */
	const char *text;  /* as written, for people */
};

/* Entries of files (`file:/path') are read now. `with_unix': "unix:" may stand for the clients of UNIX sockets.
 * False: something was complained about. */
bool address_list_read(struct reader *reader, struct arena *arena, const struct setting *at, bool with_unix,
	struct address_list *ret);

/* Any list of strings as one text; past a certain length only their number. */
const char *setting_list_text(struct arena *arena, const struct setting *at);
