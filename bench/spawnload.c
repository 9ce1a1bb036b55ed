/* Programs a second, from a loop that does nothing else: posix_spawn(), a few at a time, each waited for. It is the limit of
 * what usher's exec can reach. Their standard streams are /dev/null. Prints one line of JSON.
 *
 * usage: spawnload MILLISECONDS AT-A-TIME PROGRAM [ARGUMENT ...] */
#include "client.h"
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

static bool child_reap(struct errors *errors)
{
	int status;

	if (wait(&status) < 0)
		err(1, "wait");
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		errors_add(errors, "a program failed", 0);
	return errors->count == 0;
}

int main(int argc, char **argv)
{
	struct errors errors = { 0 };
	posix_spawn_file_actions_t files;
	unsigned long done = 0, running = 0;

	if (argc < 4) {
		fputs("usage: spawnload MILLISECONDS AT-A-TIME PROGRAM [ARGUMENT ...]\n", stderr);
		return 2;
	}
	unsigned long at_a_time = number_parse(argv[2], "AT-A-TIME", 1000);
	posix_spawn_file_actions_init(&files);
	posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_addopen(&files, 1, "/dev/null", O_WRONLY, 0);
	uint64_t begin_ns = clock_ns(),
		 deadline_ns = begin_ns + number_parse(argv[1], "MILLISECONDS", 3600000) * 1000000;
	while (errors.count == 0 && clock_ns() < deadline_ns) {
		pid_t pid;
		int error = posix_spawn(&pid, argv[3], &files, NULL, argv + 3, environ);
		if (error != 0)
			errors_add(&errors, "posix_spawn", error);
		else if (++running == at_a_time && child_reap(&errors))
			running--, done++;
	}
	for (; running > 0 && child_reap(&errors); running--)
		done++;
	double seconds = (double)(clock_ns() - begin_ns) / 1e9;
	printf("{\"programs\": %lu, \"seconds\": %.6f, \"per_second\": %.1f, ", done, seconds,
		(double)done / seconds);
	errors_print(&errors);
	puts("}");
	posix_spawn_file_actions_destroy(&files);
	return 0;
}
