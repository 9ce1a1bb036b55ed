/* usher tcpmux: serve under tcpmux's configuration file and command line. */
#include "tcpmux.h"
#include "command.h"
#include "foreign.h"
#include "master.h"
#include <signal.h>

static int translate(const void *options, struct native *ret, const char *file, struct complaints *complaints)
{
	return tcpmux_translate(ret, file, options, complaints);
}

int command_tcpmux(int argc, char **argv)
{
	struct tcpmux_options options;

	if (tcpmux_options_read(&options, argc, argv) < 0)
		return 2;
	if (options.help) {
		tcpmux_usage(stdout);
		return 0;
	}
	const struct foreign foreign = {
		.file = tcpmux_file(&options), .translate = translate, .options = &options, .control = options.control
	};
	if (!foreign.file) {
		fprintf(stderr, "usher tcpmux: no configuration: expected -c FILE or one of %s\n", tcpmux_places);
		return 2;
	}
	if (options.print)
		return foreign_print(&foreign);
	int status = master_run(&(struct master_options){
		.load = foreign_load,
		.context = &foreign,
		.daemon = options.daemon,
		.inetd = options.inetd,
		.reload_signal = SIGUSR2,
		.tell = foreign_tell,
	});
	return status;
}
