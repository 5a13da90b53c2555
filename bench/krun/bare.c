/* What libkrun costs by itself: one machine from a kernel and a root disk,
 * without anything of ours around it.
 *
 *	bare LIBKRUN KERNEL.ELF DISK MEMORY-MIB
 */
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

static void *lib;

static void *fn(const char *name) {
	void *p = dlsym(lib, name);
	if (!p) {
		fprintf(stderr, "bare: no %s\n", name);
		exit(1);
	}
	return p;
}

#define KRUN(name, types, args)                                       \
	do {                                                          \
		int32_t r = ((int32_t(*) types)fn("krun_" #name)) args; \
		if (r < 0) {                                          \
			fprintf(stderr, "bare: krun_" #name ": %d\n", r); \
			exit(1);                                      \
		}                                                     \
	} while (0)

int main(int argc, char **argv) {
	const char *none[] = {NULL};
	if (argc != 5 || !(lib = dlopen(argv[1], RTLD_NOW))) {
		fprintf(stderr, "bare: %s\n", argc == 5 ? dlerror() : "four arguments");
		return 1;
	}
	KRUN(create_ctx, (void), ());
	KRUN(set_vm_config, (uint32_t, uint8_t, uint32_t), (0, 1, atoi(argv[4])));
	KRUN(set_kernel, (uint32_t, const char *, uint32_t, const char *, const char *),
	     (0, argv[2], 1, NULL, "console=hvc0 quiet root=/dev/vda rootfstype=erofs ro init=/agent reboot=k panic=-1 no-kvmapf"));
	KRUN(set_exec, (uint32_t, const char *, const char **, const char **), (0, "/agent", none, none));
	KRUN(add_disk2, (uint32_t, const char *, const char *, uint32_t, _Bool), (0, "vda", argv[3], 0, 1));
	KRUN(set_console_output, (uint32_t, const char *), (0, "/dev/null"));
	KRUN(start_enter, (uint32_t), (0));
	return 1;
}
