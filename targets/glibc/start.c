/* What a program needs of its own to be linked dynamically and run with glibc from 2.17 on (aarch64).
 *
 * Since glibc 2.34 the library calls a program's constructors itself; before, the program handed over a function that
 * does. A program linked with the older symbol has to do so, on new systems too. And since 2.33 stat and its kin are
 * symbols; before, they were functions within each program that call __xstat with the structure's version, which is 0. */

struct stat;
extern int __xstat64(int version, const char *path, struct stat *to);
extern int __lxstat64(int version, const char *path, struct stat *to);
extern int __fxstat64(int version, int file, struct stat *to);
extern int __fxstatat64(int version, int folder, const char *path, struct stat *to, int flags);

int stat64(const char *path, struct stat *to) { return __xstat64(0, path, to); }
int lstat64(const char *path, struct stat *to) { return __lxstat64(0, path, to); }
int fstat64(int file, struct stat *to) { return __fxstat64(0, file, to); }
int fstatat64(int folder, const char *path, struct stat *to, int flags) {
    return __fxstatat64(0, folder, path, to, flags);
}

/* libgcc's unwinder asks for it, and looks itself upon "not found"; 2.35. */
int _dl_find_object(void *address, void *result) {
    (void)address, (void)result;
    return -1;
}

typedef void constructor(int, char **, char **);
extern constructor *const __init_array_start[] __attribute__((visibility("hidden")));
extern constructor *const __init_array_end[] __attribute__((visibility("hidden")));
extern void _init(void);

static void __attribute__((used)) construct(int argc, char **argv, char **environment) {
    _init();
    for (constructor *const *each = __init_array_start; each != __init_array_end; each++)
        (*each)(argc, argv, environment);
}

/* The entry: x0 is what the loader wants to be called at the end, the stack holds argc, argv, the environment. Calls
 * __libc_start_main(main, argc, argv, construct, none, x0, the stack's end). */
__asm__(".text\n.globl _start\n.type _start, %function\n"
        "_start:\n"
        "    hint #34\n"
        "    mov x29, #0\n    mov x30, #0\n"
        "    mov x5, x0\n"
        "    ldr x1, [sp]\n    add x2, sp, #8\n    mov x6, sp\n"
        "    adrp x0, :got:main\n    ldr x0, [x0, #:got_lo12:main]\n"
        "    adrp x3, construct\n    add x3, x3, #:lo12:construct\n"
        "    mov x4, #0\n"
        "    bl __libc_start_main\n    bl abort\n"
        ".size _start, . - _start\n");
