/* small_vmm: a very small virtual machine monitor on /dev/kvm, for the guest `nested`.
 *
 *   small_vmm --smoke
 *       two guests of a few instructions: in real mode, and in 64-bit mode with paging; each writes to port 3f8h and halts
 *   small_vmm KERNEL INITRD CMDLINE MEGABYTES
 *       boots a Linux bzImage by the 32-bit boot protocol (Documentation/arch/x86/boot.rst) on one processor, with KVM's own
 *       interrupt controllers and timer, a 16550 at 3f8h and a clock that stands; nothing else is there
 *
 * The guest ends with a triple fault or a reset by the keyboard controller.  Linked statically, for an initramfs.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static int kvm, vm, vcpu, run_size;
static struct kvm_run *run;
static uint8_t *ram;
static size_t ram_size;
static struct { unsigned long io, mmio, interrupted, characters; } exits;

static void fail(const char *what)
{
    printf("small_vmm: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void make_vcpu(void)
{
    struct { struct kvm_cpuid2 head; struct kvm_cpuid_entry2 e[128]; } cpuid = { .head.nent = 128 };
    /* Firmware leaves fast strings on (SDM 4, IA32_MISC_ENABLE bit 0); KVM's reset value has them off. */
    struct { struct kvm_msrs head; struct kvm_msr_entry e; } msrs = { .head.nmsrs = 1, .e = { .index = 0x1a0, .data = 1 } };

    if ((vcpu = ioctl(vm, KVM_CREATE_VCPU, 0)) < 0)
        fail("KVM_CREATE_VCPU");
    run = mmap(NULL, run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
    if (run == MAP_FAILED)
        fail("mmap of kvm_run");
    if (ioctl(kvm, KVM_GET_SUPPORTED_CPUID, &cpuid) < 0)
        fail("KVM_GET_SUPPORTED_CPUID");
    for (unsigned i = 0; i < cpuid.head.nent; i++) {
        struct kvm_cpuid_entry2 *e = &cpuid.e[i];

        if (e->function == 1) {
            e->ebx &= 0x00ffffff;                           /* local APIC 0 */
            e->ecx |= 1u << 31;                             /* a hypervisor is there: KVM's own leaves are looked for */
        }
        if (e->function == 0xb || e->function == 0x1f)
            e->edx = 0;
    }
    if (ioctl(vcpu, KVM_SET_CPUID2, &cpuid) < 0)
        fail("KVM_SET_CPUID2");
    ioctl(vcpu, KVM_SET_MSRS, &msrs);                      /* an AMD processor may not have it */
}

static void make_vm(size_t size, int with_devices)
{
    struct kvm_userspace_memory_region region = { 0 };
    struct kvm_pit_config pit = { .flags = KVM_PIT_SPEAKER_DUMMY };
    uint64_t identity = 0xfffbc000;

    if ((vm = ioctl(kvm, KVM_CREATE_VM, 0)) < 0)
        fail("KVM_CREATE_VM");
    /* On Intel, KVM wants three pages and one page of guest address space. */
    if (ioctl(vm, KVM_SET_IDENTITY_MAP_ADDR, &identity) < 0)
        fail("KVM_SET_IDENTITY_MAP_ADDR");
    if (ioctl(vm, KVM_SET_TSS_ADDR, 0xfffbd000) < 0)
        fail("KVM_SET_TSS_ADDR");
    if (with_devices && (ioctl(vm, KVM_CREATE_IRQCHIP, 0) < 0 || ioctl(vm, KVM_CREATE_PIT2, &pit) < 0))
        fail("KVM_CREATE_IRQCHIP/PIT2");
    ram = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (ram == MAP_FAILED)
        fail("mmap");
    ram_size = size;
    region.memory_size = size;
    region.userspace_addr = (uintptr_t)ram;
    if (ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region) < 0)
        fail("KVM_SET_USER_MEMORY_REGION");
    run_size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
    make_vcpu();
}

static void end_vm(void)
{
    munmap(run, run_size);
    close(vcpu);
    close(vm);
    munmap(ram, ram_size);
}

/* KVM's own counters of the processor (binary statistics, Linux 5.14 and later). */
static void statistics(void)
{
    struct kvm_stats_header h;
    int fd = ioctl(vcpu, KVM_GET_STATS_FD, NULL);

    printf("small_vmm: exits to user space: io %lu (characters %lu) mmio %lu interrupted %lu\n",
           exits.io, exits.characters, exits.mmio, exits.interrupted);
    if (fd < 0 || pread(fd, &h, sizeof h, 0) != sizeof h)
        return;
    printf("small_vmm: kvm statistics:");
    for (unsigned i = 0; i < h.num_desc; i++) {
        char buf[sizeof(struct kvm_stats_desc) + 64] = { 0 };
        struct kvm_stats_desc *d = (void *)buf;
        uint64_t v = 0;

        if (pread(fd, d, sizeof *d + h.name_size, h.desc_offset + i * (sizeof *d + h.name_size)) <= 0)
            break;
        if (d->size != 1 || pread(fd, &v, 8, h.data_offset + d->offset) != 8 || !v)
            continue;
        printf(" %s=%llu", d->name, (unsigned long long)v);
    }
    printf("\n");
    close(fd);
}

/* ----------------------------------------------------------- 16550 at 3f8h */
static struct { uint8_t ier, lcr, mcr, scr, dll, dlm, fcr; int thre; } uart = { .mcr = 8 };

static void uart_irq(void)
{
    struct kvm_irq_level level = { .irq = 4, .level = (uart.ier & 2) && uart.thre };
    ioctl(vm, KVM_IRQ_LINE, &level);
}

static void uart_write(int reg, uint8_t v)
{
    switch (reg) {
    case 0:
        if (uart.lcr & 0x80) { uart.dll = v; break; }
        putchar(v);
        if (v == '\n')
            fflush(stdout);
        exits.characters++;
        uart.thre = 1;
        uart_irq();
        break;
    case 1:
        if (uart.lcr & 0x80) { uart.dlm = v; break; }
        if ((v & 2) && !(uart.ier & 2))
            uart.thre = 1;
        uart.ier = v & 15;
        uart_irq();
        break;
    case 2: uart.fcr = v; break;
    case 3: uart.lcr = v; break;
    case 4: uart.mcr = v; break;
    case 7: uart.scr = v; break;
    }
}

static uint8_t uart_read(int reg)
{
    uint8_t v;

    switch (reg) {
    case 0: return uart.lcr & 0x80 ? uart.dll : 0;
    case 1: return uart.lcr & 0x80 ? uart.dlm : uart.ier;
    case 2:
        v = (uart.fcr & 1 ? 0xc0 : 0) | ((uart.ier & 2) && uart.thre ? 2 : 1);
        uart.thre = 0;
        uart_irq();
        return v;
    case 3: return uart.lcr;
    case 4: return uart.mcr;
    case 5: return 0x60;
    case 6:                                                 /* loop-back, for a driver's probe */
        if (uart.mcr & 0x10)
            return (uart.mcr & 1) << 5 | (uart.mcr & 2) << 3 | (uart.mcr & 4) << 4 | (uart.mcr & 8) << 4;
        return 0xb0;
    default: return uart.scr;
    }
}

/* ------------------------------------------------------------------- clock */
/* Stands at 2024-01-01 00:00:00 (BCD, 24 hours), so that Linux does not wait for one. */
static uint8_t rtc_index;

static uint8_t rtc_read(void)
{
    switch (rtc_index & 0x7f) {
    case 6: return 2;
    case 7: case 8: return 1;
    case 9: return 0x24;
    case 0x0a: return 0x26;
    case 0x0b: return 0x02;
    case 0x0d: return 0x80;
    case 0x32: return 0x20;
    default: return 0;
    }
}

/* ------------------------------------------------------------------- exits */
static void dump(void)
{
    struct kvm_regs r;
    struct kvm_sregs s;

    ioctl(vcpu, KVM_GET_REGS, &r);
    ioctl(vcpu, KVM_GET_SREGS, &s);
    printf("small_vmm: rip %llx rsp %llx rflags %llx rax %llx cs %x/%llx cr0 %llx cr3 %llx cr4 %llx efer %llx\n",
           r.rip, r.rsp, r.rflags, r.rax, s.cs.selector, s.cs.base, s.cr0, s.cr3, s.cr4, s.efer);
}

/* A port access; 1: the guest resets the machine. */
static int port_access(void)
{
    uint8_t *data = (uint8_t *)run + run->io.data_offset;
    unsigned port = run->io.port, n = run->io.size * run->io.count;

    exits.io++;
    if (run->io.direction == KVM_EXIT_IO_OUT) {
        if (port >= 0x3f8 && port < 0x400)
            for (unsigned i = 0; i < run->io.count; i++)
                uart_write(port - 0x3f8, data[i * run->io.size]);
        if (port == 0x70)
            rtc_index = data[0];
        return port == 0x64 && data[0] == 0xfe;
    }
    if (port >= 0x3f8 && port < 0x400)
        memset(data, uart_read(port - 0x3f8), n);
    else
        memset(data, port == 0x71 ? rtc_read() : 0xff, n);
    return 0;
}

/* Runs until the guest ends; 0: by HLT, reset or triple fault. */
static int run_vcpu(void)
{
    for (;;) {
        if (ioctl(vcpu, KVM_RUN, 0) < 0 && errno != EINTR && errno != EAGAIN)
            fail("KVM_RUN");
        switch (run->exit_reason) {
        case KVM_EXIT_IO:
            if (port_access())
                return 0;
            break;
        case KVM_EXIT_MMIO:
            exits.mmio++;
            if (!run->mmio.is_write)
                memset(run->mmio.data, 0xff, run->mmio.len);
            break;
        case KVM_EXIT_HLT:
            return 0;
        case KVM_EXIT_SHUTDOWN:
            printf("small_vmm: triple fault\n");
            return 0;
        case KVM_EXIT_INTR:
        case KVM_EXIT_IRQ_WINDOW_OPEN:
            exits.interrupted++;
            break;
        case KVM_EXIT_FAIL_ENTRY:
            printf("small_vmm: entry failed, reason %#llx\n", run->fail_entry.hardware_entry_failure_reason);
            dump();
            return 1;
        case KVM_EXIT_INTERNAL_ERROR:
            printf("small_vmm: internal error %u", run->internal.suberror);
            for (unsigned i = 0; i < run->internal.ndata && i < 16; i++)
                printf(" %llx", run->internal.data[i]);
            printf("\n");
            dump();
            return 1;
        default:
            printf("small_vmm: exit reason %u\n", run->exit_reason);
            dump();
            return 1;
        }
    }
}

/* ------------------------------------------------------------------ guests */
static int smoke_real(void)
{
    static const uint8_t code[] = {
        0xba, 0xf8, 0x03,                                   /* mov dx, 0x3f8 */
        0xbe, 0x10, 0x10,                                   /* mov si, 0x1010 */
        0xb9, 0x1f, 0x00,                                   /* mov cx, 31 */
        0xfc, 0xf3, 0x6e,                                   /* cld; rep outsb */
        0xf4,                                               /* hlt */
        0, 0, 0,
        'G', 'K', '-', 'M', 'A', 'R', 'K', ' ', 's', 'm', 'o', 'k', 'e', ' ', 'r', 'e', 'a', 'l', '-',
        'm', 'o', 'd', 'e', ' ', 'g', 'u', 'e', 's', 't', '\r', '\n',
    };
    struct kvm_sregs s;
    struct kvm_regs r = { .rip = 0x1000, .rflags = 2, .rsp = 0x8000 };

    make_vm(1 << 20, 0);
    memcpy(ram + 0x1000, code, sizeof code);
    ioctl(vcpu, KVM_GET_SREGS, &s);
    s.cs.base = s.cs.selector = 0;
    if (ioctl(vcpu, KVM_SET_SREGS, &s) < 0 || ioctl(vcpu, KVM_SET_REGS, &r) < 0)
        fail("KVM_SET_SREGS");
    int bad = run_vcpu();
    end_vm();
    return bad;
}

static int smoke_long(void)
{
    /* 64-bit code: sums 1..1000 through memory in another page, prints a text when the sum is right, else halts. */
    static const uint8_t code[] = {
        0x31, 0xc0,                                         /* xor eax, eax */
        0xb9, 0xe8, 0x03, 0x00, 0x00,                       /* mov ecx, 1000 */
        0x48, 0x01, 0xc8,                                   /* 1: add rax, rcx */
        0x48, 0x89, 0x04, 0x25, 0x00, 0x00, 0x30, 0x00,     /* mov [0x300000], rax */
        0x48, 0x8b, 0x04, 0x25, 0x00, 0x00, 0x30, 0x00,     /* mov rax, [0x300000] */
        0xff, 0xc9, 0x75, 0xe9,                             /* dec ecx; jnz 1b */
        0x3d, 0x14, 0xa3, 0x07, 0x00,                       /* cmp eax, 500500 */
        0x75, 0x10,                                         /* jne 2f */
        0x66, 0xba, 0xf8, 0x03,                             /* mov dx, 0x3f8 */
        0xbe, 0x50, 0x00, 0x10, 0x00,                       /* mov esi, 0x100050 */
        0xb9, 0x1e, 0x00, 0x00, 0x00,                       /* mov ecx, 30 */
        0xf3, 0x6e,                                         /* rep outsb */
        0xf4,                                               /* 2: hlt */
    };
    static const char text[] = "GK-MARK smoke 64-bit guest OK\n";
    struct kvm_sregs s;
    struct kvm_regs r = { .rip = 0x100000, .rflags = 2, .rsp = 0x200000 };
    struct kvm_segment seg = { .limit = 0xffffffff, .present = 1, .s = 1, .g = 1 };
    uint64_t *pml4, *pdpt, *pd;

    make_vm(4 << 20, 0);
    memcpy(ram + 0x100000, code, sizeof code);
    memcpy(ram + 0x100050, text, sizeof text - 1);
    pml4 = (void *)(ram + 0x2000);
    pdpt = (void *)(ram + 0x3000);
    pd = (void *)(ram + 0x4000);
    pml4[0] = 0x3003;
    pdpt[0] = 0x4003;
    pd[0] = 0x000083;
    pd[1] = 0x200083;
    ioctl(vcpu, KVM_GET_SREGS, &s);
    s.cr0 = 0x80000011;
    s.cr3 = 0x2000;
    s.cr4 = 0x20;
    s.efer = 0x500;
    seg.type = 11, seg.l = 1, seg.selector = 8;
    s.cs = seg;
    seg.type = 3, seg.l = 0, seg.db = 1, seg.selector = 16;
    s.ds = s.es = s.ss = s.fs = s.gs = seg;
    if (ioctl(vcpu, KVM_SET_SREGS, &s) < 0 || ioctl(vcpu, KVM_SET_REGS, &r) < 0)
        fail("KVM_SET_SREGS");
    int bad = run_vcpu();
    end_vm();
    return bad;
}

static void *load(const char *name, size_t *size)
{
    struct stat st;
    int fd = open(name, O_RDONLY);
    void *p;

    if (fd < 0 || fstat(fd, &st) < 0)
        fail(name);
    *size = st.st_size;
    p = mmap(NULL, *size + 1, PROT_READ, MAP_PRIVATE, fd, 0);
    if (p == MAP_FAILED)
        fail(name);
    close(fd);
    return p;
}

static int boot_linux(const char *kernel, const char *initrd, const char *cmdline, size_t mb)
{
    struct kvm_sregs s;
    struct kvm_regs r = { .rip = 0x100000, .rsi = 0x10000, .rflags = 2 };
    struct kvm_segment seg = { .limit = 0xffffffff, .present = 1, .s = 1, .g = 1, .db = 1 };
    struct __attribute__((packed)) { uint64_t addr, size; uint32_t type; } *e820;
    size_t size, setup, isize = 0, iaddr = 0;
    uint8_t *image = load(kernel, &size), *params, *p;

    make_vm(mb << 20, 1);
    if (memcmp(image + 0x202, "HdrS", 4)) {
        printf("small_vmm: %s is no bzImage\n", kernel);
        return 1;
    }
    setup = ((image[0x1f1] ? image[0x1f1] : 4) + 1) * 512;
    memcpy(ram + 0x100000, image + setup, size - setup);
    params = ram + 0x10000;
    memcpy(params + 0x1f1, image + 0x1f1, 0x202 + image[0x201] - 0x1f1);
    params[0x210] = 0xff;                                   /* type_of_loader */
    strcpy((char *)ram + 0x20000, cmdline);
    *(uint32_t *)(params + 0x228) = 0x20000;
    p = load(initrd, &isize);
    iaddr = (ram_size - isize) & ~0xfffful;
    memcpy(ram + iaddr, p, isize);
    *(uint32_t *)(params + 0x218) = iaddr;
    *(uint32_t *)(params + 0x21c) = isize;
    munmap(p, isize + 1);
    munmap(image, size + 1);
    e820 = (void *)(params + 0x2d0);
    e820[0].addr = 0, e820[0].size = 0x9fc00, e820[0].type = 1;
    e820[1].addr = 0x100000, e820[1].size = ram_size - 0x100000, e820[1].type = 1;
    params[0x1e8] = 2;

    ioctl(vcpu, KVM_GET_SREGS, &s);
    s.cr0 |= 1;
    seg.type = 11, seg.selector = 0x10;
    s.cs = seg;
    seg.type = 3, seg.selector = 0x18;
    s.ds = s.es = s.ss = s.fs = s.gs = seg;
    if (ioctl(vcpu, KVM_SET_SREGS, &s) < 0 || ioctl(vcpu, KVM_SET_REGS, &r) < 0)
        fail("KVM_SET_SREGS");
    int bad = run_vcpu();
    fflush(stdout);
    statistics();
    return bad;
}

int main(int argc, char **argv)
{
    setvbuf(stdout, NULL, _IOFBF, 4096);
    kvm = open("/dev/kvm", O_RDWR);
    if (kvm < 0)
        fail("/dev/kvm");
    printf("small_vmm: KVM API %d\n", ioctl(kvm, KVM_GET_API_VERSION, 0));
    if (argc == 2 && !strcmp(argv[1], "--smoke"))
        return smoke_real() | smoke_long();
    if (argc != 5) {
        printf("usage: small_vmm --smoke | KERNEL INITRD CMDLINE MEGABYTES\n");
        return 2;
    }
    return boot_linux(argv[1], argv[2], argv[3], strtoul(argv[4], NULL, 0));
}
