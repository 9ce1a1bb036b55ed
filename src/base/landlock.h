/* Landlock: takes files, ports and signals away from the calling process, for good and for all that it forks. Raw system
 * calls, because the C library has none for it. What the kernel does not know yet is left out, see landlock_abi(). */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LANDLOCK_PORTS 65536

/* Everything that is not named here is refused; also what a file descriptor that is open already could not do. */
struct landlock {
	const char *const
		*readable; /* files and folders of which every file may be read; what is not there is passed over */
	size_t n_readable;
	bool limits_connect;  /* over TCP to `ports` only; from ABI 4 */
	bool limits_bind;     /* no TCP socket gets an address; from ABI 4 */
	const uint8_t *ports; /* LANDLOCK_PORTS bits, bit n % 8 of byte n / 8; NULL: none */
};

/* What the running kernel offers: 0 nothing, 1 files, 2 and 3 more of them, 4 TCP ports, 5 ioctl() on devices, 6 abstract
 * UNIX sockets and signals. */
int landlock_abi(void);

/* With the calls of that ABI (the kernel's at most). The process must have no_new_privs or CAP_SYS_ADMIN. 0, or -errno:
 * the caller must end, for nothing is taken away then. */
int landlock_enter(const struct landlock *wanted, int abi);
