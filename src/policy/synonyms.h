/* What people call protocols by other names than usher does. */
#pragma once

/* ", expected `tls' (HTTP inside TLS: told by `sni' and `alpn')" for `https'; NULL: no such name is known here. */
const char *synonym_hint(const char *name);
