/* What libconfig alone needs for a configuration: reads it, gives it back, prints the processor time of both. */
#include <libconfig.h>
#include <stdio.h>
#include <time.h>

static double now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

int main(int argc, char **argv)
{
	config_t config;

	if (argc != 2)
		return 2;
	config_init(&config);
	double begin = now_ms();
	if (config_read_file(&config, argv[1]) != CONFIG_TRUE)
		return 1;
	double read = now_ms();
	config_destroy(&config);
	printf("{\"read_ms\": %.1f, \"destroy_ms\": %.1f}\n", read - begin, now_ms() - read);
	return 0;
}
