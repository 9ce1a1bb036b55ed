/* Reads one handover message of either format (include/usher/handover.h). */
#pragma once
#include <stddef.h>
#include <usher/handover.h>

/* How long the message is that begins with these bytes, as far as they tell: more than `len` where more must
 * be read to know or to have it all. -EBADMSG: no message begins like this. */
int message_length(const uint8_t *bytes, size_t len);

/* Fills all of `ret` but fd from a whole message, of message_length() bytes. 0; -EBADMSG: malformed. */
int message_read(const uint8_t *bytes, size_t len, struct usher_connection *ret);
