/* A module of nsswitch.conf(5): it knows some names, and does with others what a module should not do. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <nss.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

enum nss_status _nss_usher_test_gethostbyname4_r(const char *name, struct gaih_addrtuple **tuple, char *buffer,
	size_t size, int *ret_errno, int *ret_h_errno, int32_t *ret_ttl);

/* All that it must not be able to do fails, and it lives to tell. */
static int is_locked_in(void)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(0);
	return pid < 0 && open("/tmp/of-a-module", O_WRONLY | O_CREAT, 0600) < 0 &&
		open("/root/.profile", O_RDONLY) < 0 &&
		mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) ==
		MAP_FAILED &&
		socket(AF_PACKET, SOCK_RAW, 0) < 0 && execl("/bin/true", "true", (char *)NULL) < 0;
}

enum nss_status _nss_usher_test_gethostbyname4_r(const char *name, struct gaih_addrtuple **tuple, char *buffer,
	size_t size, int *ret_errno, int *ret_h_errno, int32_t *ret_ttl)
{
	if (strcmp(name, "crash.test") == 0)
		abort();
	while (strcmp(name, "hang.test") == 0)
		poll(NULL, 0, -1);
	bool known = strcmp(name, "known.test") == 0 || (strcmp(name, "locked.test") == 0 && is_locked_in());
	if (!known || size < sizeof(**tuple)) {
		*ret_errno = ENOENT;
		*ret_h_errno = HOST_NOT_FOUND;
		return NSS_STATUS_NOTFOUND;
	}
	if (!*tuple)
		*tuple = (struct gaih_addrtuple *)buffer;
	**tuple = (struct gaih_addrtuple){ .name = (char *)name, .family = AF_INET };
	(*tuple)->addr[0] = htonl(0x7f00001f); /* 127.0.0.31 */
	if (ret_ttl)
		*ret_ttl = 0;
	return NSS_STATUS_SUCCESS;
}
