/* All settings of a configuration as they were written, as one line of JSON: what two readings of it differ in, a reload changes. */
#pragma once

struct arena;
struct reader;

/* {"listen": ["0.0.0.0:443"], "services": [{"name": "ssh", ...}]}. Groups are objects, lists and arrays are arrays. A list of addresses in
 * a file is `file:/path (contents DIGEST)', so that it differs where the file does. */
const char *settings_text(struct arena *arena, const struct reader *reader);
