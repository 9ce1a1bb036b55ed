/* refuse ERRNO CALL... -- PROGRAM [ARGUMENT...]: runs a program under a filter of system calls that answers these with that error, as
 * old kernels (ENOSYS) and containers' profiles (EPERM) do. CALL may be CALL=N: only where its first argument is N. The filter holds for
 * whatever the program starts. Ends with status 99 where it cannot be set up. */
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int refuse(scmp_filter_ctx filter, unsigned error, char *call)
{
	char *value = strchr(call, '=');

	if (value)
		*value++ = '\0';
	int number = seccomp_syscall_resolve_name(call);
	if (number == __NR_SCMP_ERROR)
		return -1;
	return seccomp_rule_add(filter, SCMP_ACT_ERRNO(error), number, value ? 1 : 0,
		SCMP_CMP(0, SCMP_CMP_EQ, value ? strtoull(value, NULL, 0) : 0));
}

int main(int argc, char **argv)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
	int i;

	if (!filter || argc < 5)
		return 99;
	for (i = 2; i < argc && strcmp(argv[i], "--") != 0; i++)
		if (refuse(filter, (unsigned)atoi(argv[1]), argv[i]) < 0)
			return 99;
	if (i + 1 >= argc || seccomp_load(filter) < 0)
		return 99;
	execv(argv[i + 1], argv + i + 1);
	perror(argv[i + 1]);
	return 99;
}
