/* VNC by the version of the protocol that a client asks for, RFC 6143 7.1.1.
 *
 *     R F B   0 0 3 . 0 0 8 LF
 *                           ^ YES
 *
 * The server says its version first, and a client waits for that. So this is what comes where the client does not wait or has
 * been told something; silence is told otherwise (`on_silence'). Versions 3 to 5 exist, the last two in RealVNC's; a minor one
 * may be anything, Apple's is 889. Owns no memory. */
#include "look.h"
#include "probe.h"

enum verdict probe_vnc(const struct evidence *evidence, struct findings *findings)
{
	static const char form[] = "RFB 003.000\n";
	const uint8_t *bytes = evidence->bytes;

	for (size_t i = 0; i < sizeof(form) - 1; i++) {
		if (i == evidence->len)
			return VERDICT_MORE;
		bool is_major = i == 6, is_minor = i > 7 && form[i] == '0';
		if (is_major ? bytes[i] < '3' || bytes[i] > '5'
			     : (is_minor ? bytes[i] < '0' || bytes[i] > '9' : bytes[i] != (uint8_t)form[i]))
			return VERDICT_NO;
	}
	return VERDICT_YES;
}
