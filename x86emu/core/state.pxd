# cython: language_level=3
# The processor's state as plain data in named sections (Intel SDM volume 3, chapter 2; volume 1, chapters 3, 8, 10),
# and the decoded-instruction records that the engine runs.  Everything up to `saved_end` is what a snapshot holds;
# what follows is derived (TLB, trace pointers, caches) and can be rebuilt from it.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, int8_t, int16_t, int32_t, int64_t, uintptr_t
from x86emu.bus.platform cimport Signals, Board
from x86emu.core.vmx_state cimport Vmx
from x86emu.core.svm_state cimport Svm, ExitRecord, ExitCounter, N_EXIT_RECORDS

include "build_config.pxi"        # enum: LOOP_FORM (0 = handlers chain by sibling calls, 1 = central loop)

cdef extern from *:
    bint likely(bint) nogil
    bint unlikely(bint) nogil

ctypedef fused uint_t:
    uint8_t
    uint16_t
    uint32_t
    uint64_t

cdef enum:                  # general registers (anonymous enums: Cython takes no named one as an index)
    RAX = 0
    RCX = 1
    RDX = 2
    RBX = 3
    RSP = 4
    RBP = 5
    RSI = 6
    RDI = 7
    # Pseudo registers that only records name: they let one handler serve every addressing form.
    REG_ZERO = 16        # always 0: "no base", "no index"
    REG_LINEAR = 17      # the linear address that a SEGMENT_EA record computed
    REG_FS_BASE = 18     # base of FS and GS in 64-bit mode
    REG_GS_BASE = 19
    REG_RIP = 20         # RIP of the running trace's first instruction; the exact RIP between traces
    REG_TMP = 21         # a memory operand, for handlers that have only a register form
    REG_TMP2 = 22
    N_REGS = 24

cdef enum:                  # segment registers
    ES = 0
    CS = 1
    SS = 2
    DS = 3
    FS = 4
    GS = 5
    LDTR = 6
    TR = 7

# Exception vectors (SDM 3A table 6-1)
cdef enum Vector:
    V_DE = 0
    V_DB = 1
    V_NMI = 2
    V_BP = 3
    V_OF = 4
    V_BR = 5
    V_UD = 6
    V_NM = 7
    V_DF = 8
    V_TS = 10
    V_NP = 11
    V_SS = 12
    V_GP = 13
    V_PF = 14
    V_MF = 16
    V_AC = 17
    V_MC = 18
    V_XM = 19
    V_VE = 20
    V_CP = 21

# EFLAGS
cdef enum:
    FLAG_CF = 0x1
    FLAG_PF = 0x4
    FLAG_AF = 0x10
    FLAG_ZF = 0x40
    FLAG_SF = 0x80
    FLAG_TF = 0x100
    FLAG_IF = 0x200
    FLAG_DF = 0x400
    FLAG_OF = 0x800
    FLAG_IOPL = 0x3000
    FLAG_NT = 0x4000
    FLAG_RF = 0x10000
    FLAG_VM = 0x20000
    FLAG_AC = 0x40000
    FLAG_VIF = 0x80000
    FLAG_VIP = 0x100000
    FLAG_ID = 0x200000
    FLAGS_ARITHMETIC = 0x8D5

cdef enum:
    CR0_PE = 0x1
    CR0_MP = 0x2
    CR0_EM = 0x4
    CR0_TS = 0x8
    CR0_ET = 0x10
    CR0_NE = 0x20
    CR0_WP = 0x10000
    CR0_AM = 0x40000
    CR0_NW = 0x20000000
    CR0_CD = 0x40000000
    CR4_VME = 0x1
    CR4_PVI = 0x2
    CR4_TSD = 0x4
    CR4_DE = 0x8
    CR4_PSE = 0x10
    CR4_PAE = 0x20
    CR4_MCE = 0x40
    CR4_PGE = 0x80
    CR4_PCE = 0x100
    CR4_OSFXSR = 0x200
    CR4_OSXMMEXCPT = 0x400
    CR4_UMIP = 0x800
    CR4_LA57 = 0x1000
    CR4_VMXE = 0x2000
    CR4_SMXE = 0x4000
    CR4_FSGSBASE = 0x10000
    CR4_PCIDE = 0x20000
    CR4_OSXSAVE = 0x40000
    CR4_SMEP = 0x100000
    CR4_SMAP = 0x200000
    CR4_PKE = 0x400000
    CR4_CET = 0x800000
    CR4_PKS = 0x1000000
    EFER_SCE = 0x1
    EFER_LME = 0x100
    EFER_LMA = 0x400
    EFER_NXE = 0x800
    EFER_SVME = 0x1000
    EFER_FFXSR = 0x4000
cdef enum:
    CR0_PG_BIT = 31
cdef enum:                  # IA32_U_CET and IA32_S_CET (SDM 1, 17.1.3)
    CET_SH_STK_EN = 0x1
    CET_WR_SHSTK_EN = 0x2
    CET_ENDBR_EN = 0x4
    CET_LEG_IW_EN = 0x8
    CET_NO_TRACK_EN = 0x10
    CET_SUPPRESS_DIS = 0x20
    CET_SUPPRESS = 0x400
    CET_TRACKER = 0x800

# Segment attributes: the access-rights format of the VMCS (SDM 3C 25.4.1)
cdef enum:
    ATTR_TYPE = 0xF
    ATTR_ACCESSED = 0x1
    ATTR_WRITABLE = 0x2      # data: writable; code: readable
    ATTR_EXPAND_DOWN = 0x4   # data: expand-down; code: conforming
    ATTR_CODE = 0x8
    ATTR_S = 0x10
    ATTR_DPL_SHIFT = 5
    ATTR_P = 0x80
    ATTR_AVL = 0x1000
    ATTR_L = 0x2000
    ATTR_DB = 0x4000
    ATTR_G = 0x8000
    ATTR_UNUSABLE = 0x10000

# Bits of Segment.access, derived by refresh_segment()
cdef enum:
    ACCESS_READ = 1
    ACCESS_WRITE = 2
    ACCESS_EXECUTE = 4

cdef struct Segment:
    uint64_t base
    uint32_t limit           # in bytes, last valid offset (first invalid + ... for expand-down: see low, high)
    uint32_t attributes
    uint16_t selector
    uint8_t access           # derived: ACCESS_*; 0 for null or unusable
    uint64_t low, high       # derived: first and last valid offset
    uint64_t plain           # derived: offsets below it may be read and written; 0 where that is not all there is to ask

cdef struct TableRegister:
    uint64_t base
    uint32_t limit

cdef struct F80:             # SDM 1, 4.2.2: double extended precision
    uint64_t mantissa
    uint16_t sign_exponent

cdef struct Fpu:             # SDM 1, chapter 8
    F80 st[10]               # by physical register; MM0..7 are the mantissas of physical 0..7; 8 is a temporary for memory operands
    uint16_t control
    uint16_t status          # TOP kept in bits 13:11 always
    uint8_t valid            # abridged tag word: bit = physical register not empty
    uint16_t opcode
    uint16_t instruction_selector, data_selector
    uint64_t instruction_pointer, data_pointer

cdef struct Vec:             # an XMM register and the upper half of its YMM
    uint64_t q[4]

# Lazy arithmetic flags.  result, a, b are sign-extended to 64 bits from the operand's size, so that no size is needed:
#   ADD:   CF = result <u a, OF = ((a ^ result) & (b ^ result)) < 0, AF = bit 4 of a ^ b ^ result
#   SUB:   CF = a <u b,      OF = ((a ^ b) & (a ^ result)) < 0,      AF likewise
#   LOGIC: CF = OF = AF = 0
#   MIXED: ZF, SF, PF from result; CF, OF, AF are FLAG_ bits in b
#   EAGER: all six are FLAG_ bits in b; result is 0 exactly when ZF is set
#   COUNT: INC and DEC; CF is b, OF where the sign changes other than at 0, AF = bit 4 of a ^ result
#   SHIFT: SHR and SAR; CF is bit b of a (b: count less one), OF the sign of SHR by one: a < 0 and b == 0 and result >= 0
# ZF is `result == 0` whatever the kind.  FLAGS_STORED is the bit of those kinds whose CF is bit 0 of b.
cdef enum FlagKind:
    FLAGS_ADD = 0
    FLAGS_SUB = 1
    FLAGS_LOGIC = 2
    FLAGS_STORED = 4
    FLAGS_MIXED = 4
    FLAGS_EAGER = 5
    FLAGS_COUNT = 6
    FLAGS_SHIFT = 8

# Decode mode: part of every trace's key.
cdef enum Mode:
    MODE_CODE16 = 0
    MODE_CODE32 = 1
    MODE_CODE64 = 2
    MODE_CODE = 3
    MODE_STACK32 = 0x4       # SS.B (irrelevant in 64-bit mode)
    MODE_PROTECTED = 0x8     # CR0.PE
    MODE_V86 = 0x10
    MODE_FLAT = 0x20         # ES, SS, DS: base 0, no limit, readable and writable (always so in 64-bit mode)
    MODE_EM = 0x40           # CR0.EM
    MODE_TS = 0x80           # CR0.TS
    MODE_SSE = 0x100         # CR4.OSFXSR
    MODE_SINGLE = 0x200      # traces of one instruction
    MODE_HOOKED = 0x400      # traces call the trace/hook callback before every instruction
    MODE_LONG = 0x800        # EFER.LMA (compatibility mode differs in system instructions)
    MODE_AVX = 0x1000        # CR4.OSXSAVE and XCR0[2:1] = 11b
    MODE_CODE_CHECKED = 0x2000   # CS has a limit below 4 GiB
    MODE_GUEST = 0x4000      # in guest mode: traces carry INTERCEPT records
    MODE_CET = 0x8000        # CR4.CET in protected mode
    MODE_SHADOW = 0x10000    # near CALL and RET use the shadow stack at this CPL
    MODE_TRACK = 0x20000     # indirect branches are tracked at this CPL
    MODE_WAIT = 0x40000      # the tracker waits for an ENDBRANCH

cdef enum Exit:
    EXIT_NONE = 0            # go on with the trace at rip
    EXIT_FAULT = 1           # deliver cpu.fault
    EXIT_YIELD = 2           # end this processor's slice (PAUSE, HLT, MWAIT, shutdown ...)
    EXIT_STOP = 3            # leave the run loop (board.stop, unmodelled thing: cpu.stop_reason)

cdef enum ShutdownCause:
    CAUSE_VM_ENTRY = 0       # a guest was entered so
    CAUSE_TRIPLE_FAULT = 1
    CAUSE_VMX_ABORT = 2      # SDM 3C 28.7
    CAUSE_RSM = 3            # a state save area with what may not be
    CAUSE_HOST_PDPTE = 4     # of SVM's host, with reserved bits set (APM 2, 15.6)

cdef enum Activity:          # the VMX activity states (SDM 3C 25.4.2)
    ACTIVITY_ACTIVE = 0
    ACTIVITY_HLT = 1
    ACTIVITY_SHUTDOWN = 2
    ACTIVITY_WAIT_FOR_SIPI = 3
    ACTIVITY_MWAIT = 4

cdef enum EventKind:         # as in VM-entry interruption information (SDM 3C 25.8.3)
    EVENT_EXTERNAL = 0
    EVENT_NMI = 2
    EVENT_EXCEPTION = 3      # hardware exception
    EVENT_SOFTWARE_INT = 4   # INT n
    EVENT_ICEBP = 5          # INT1
    EVENT_SOFTWARE_EXCEPTION = 6   # INT3, INTO
    EVENT_WORLD_EXIT = 0x80  # no event: the guest is to be left, by Virtualization.exit_*

cdef struct Fault:
    uint8_t vector
    uint8_t kind             # EventKind
    uint8_t has_error
    uint8_t trap             # 1: rip already points behind the instruction (#DB traps, INT n, INT3)
    uint32_t error
    uint64_t address         # CR2 for #PF; DR6 bits for #DB

cdef struct FaultPlace:      # for explain
    uint64_t rip, rsp, cr3, cs_base
    uint32_t cpl, mode
    uint16_t cs
    uint8_t guest_mode
    uint8_t n_bytes
    uint8_t bytes[15]

# ----- virtualization: what SVM and VMX share, then SVM's own (AMD APM 2, chapter 15) -----

cdef enum:
    GUEST_NONE = 0           # Virtualization.guest_mode
    GUEST_SVM = 1
    GUEST_VMX = 2
    SECOND_LEVEL_NONE = 0    # Virtualization.second_level
    SECOND_LEVEL_NPT = 1
    SECOND_LEVEL_EPT = 2
    N_ADDRESS_SPACES = 64
    N_SECOND_LEVEL_ENTRIES = 256

cdef struct HostState:       # what a world switch keeps of the host, hidden parts included
    Segment seg[8]
    TableRegister gdtr, idtr
    uint64_t cr0, cr3, cr4, efer, rflags, rip, rsp, rax, pat
    uint64_t debugctl, lbr_from, lbr_to
    uint64_t s_cet, ssp, interrupt_ssp_table

cdef struct AddressSpace:    # TLB keys of one guest address space
    uint64_t root            # second-level root, 0 where there is none
    uint32_t tag             # ASID or VPID, never 0
    uint32_t pcid
    uint32_t key             # first of its three keys, 0 for an empty row

cdef struct SecondLevelEntry:
    uint64_t guest_page, page
    uint32_t generation      # 0 never matches
    uint32_t rights          # 1 read, 2 write (dirty flag set), 4 execute

cdef struct Virtualization:
    # --- saved: both ---
    uint32_t guest_mode, second_level
    uint64_t second_level_root
    uint32_t tag             # ASID or VPID in force
    uint32_t smm_guest_mode, smm_second_level   # what an SMI interrupted
    HostState host
    # a requested exit, carried out when the instruction has been unwound (EVENT_WORLD_EXIT)
    uint64_t exit_code, exit_info1, exit_info2, exit_next_rip
    # --- saved: SVM ---
    uint32_t gif             # global interrupt flag
    uint32_t host_if         # host's RFLAGS.IF
    uint64_t vmcb            # physical address of the running guest's control block
    uint64_t tsc_ratio       # MSR C0000104h: 8.32 fixed point
    uint64_t svm_key         # MSR C0010118h
    uint64_t tsc_offset
    uint32_t scales_tsc
    uint32_t intercepts[8]   # words 00h to 1Ch of the control area
    uint64_t io_map, msr_map
    uint32_t interrupt_masking   # V_INTR_MASKING
    uint32_t virtual_tpr
    uint32_t virtual_interrupt   # V_IRQ
    uint32_t virtual_priority, ignore_tpr, virtual_vector
    uint32_t virtual_gif_enabled, virtual_gif
    uint32_t lbr_virtualization  # bit 0 LBR, bit 1 VMLOAD and VMSAVE
    uint32_t pause_count, pause_reload, pause_threshold
    int64_t pause_last
    uint32_t injecting       # c.fault is an injected event, not subject to intercepts
    uint64_t inject_rip      # return address of an injected software interrupt
    uint32_t failed_check    # 1 + the row of virt/svm/checks.py that the last VMRUN failed; 0 none
    uint32_t saved_end
    # --- derived ---
    uint32_t second_level_generation
    uint32_t next_generation
    uint32_t last_tag
    uint64_t last_root
    uint32_t next_address_space
    uint64_t n_exits
    uint64_t guest_physical  # of the last second-level walk, for explain
    int64_t entered, left    # instructions retired at the last entry and exit
    uint32_t last_slot       # counter of the last exit
    AddressSpace address_spaces[64]
    SecondLevelEntry second_level_tlb[256]
    ExitRecord exits[64]
    ExitCounter exit_counters[0x1A0]

cdef struct TlbEntry:
    uint64_t tag             # page of the linear address | address-space key; 0 never matches
    uint64_t addend          # host pointer (read, write) or backing offset (execute) = linear + addend

cdef enum:
    TLB_BITS = 10
    TLB_SIZE = 1024
    TLB_MASK = 1023
    EXEC_TLB_SIZE = 16384     # of code pages: code that goes round in more of them walks the tables for each
    PAGE_SHIFT = 12
    PAGE_SIZE = 4096
    MAX_TRACE = 64           # guest instructions in a trace
    N_FEATURES = 256

cdef struct Insn
cdef struct Cpu
cdef struct Trace
ctypedef void (*handler_t)(Cpu* c, Insn* i) noexcept nogil

cdef struct Insn:            # 32 bytes
    handler_t fn
    uint8_t dst              # register number; for byte registers the byte's offset in Cpu.r
    uint8_t src
    uint8_t base             # effective address = r[base] + (r[index] << scale) + disp
    uint8_t index
    uint8_t scale
    uint8_t seg              # SegReg of the memory operand (for #SS against #GP, and for segmented modes)
    uint8_t length           # bytes of the instruction
    uint8_t pos              # this record's place in its trace
    uint8_t idx              # how many instructions of the trace come before it
    uint8_t aux              # row's aux value, or AUX_* bits of the decoder
    uint16_t ip              # offset of the instruction from the trace's first byte
    int32_t disp
    int64_t imm              # immediate, sign-extended; branches: target relative to the trace's start; or a pointer

cdef struct JumpEntry:       # where an indirect branch went to
    uint64_t rip
    uint64_t key             # Cpu.fetch_key under which rip led to the trace
    Trace* trace
    handler_t first          # its first record's: what the host waits for when it has mispredicted the branch

cdef struct Trace:
    uint64_t address         # backing offset of its first byte
    int64_t n                # what entering it charges: its instructions, or a huge number when stale
    uint32_t n_instructions
    uint32_t mode
    uint32_t n_bytes
    uint32_t n_records
    uint32_t hits
    uint16_t gap_start, gap_end    # offsets of what the JMP that the trace follows leaves out, or 0 and 0
    uint16_t jump_ip         # that JMP, which has no record
    uint8_t jump_idx
    uint64_t second_page     # backing offset of the page an instruction crosses into, or all ones
    Trace* hash_next
    Trace* page_next         # list of the traces of its page
    Trace* second_next       # list of the traces of the page it crosses into
    uint8_t* bytes           # what it was decoded from
    Insn* kept               # its records as they were before it became stale for the first time, or NULL
    Insn insns[1]

cdef struct MapRange:        # [start, end) of guest-physical space; offsets into the backing buffer or NO_BACKING
    uint64_t start, end
    uint64_t read_offset, write_offset

cdef enum:
    LOW_PAGES = 256          # the first MiB is looked up by page
    MAX_RANGES = 64
    TRACE_HASH = 131072

cdef struct Memory:          # guest-physical memory: one backing buffer [RAM][ROM], and who sees what of it where
    uint8_t* backing
    uint64_t backing_size
    uint64_t* code_mask      # per backing page: which 64-byte lines hold decoded code
    Trace** page_traces      # per backing page
    uint64_t** code_bytes    # per backing page with decoded code: which of its bytes are, 64 words of 64 bits
    uint64_t low_read[256]
    uint64_t low_write[256]
    MapRange ranges[64]
    int n_ranges
    MapRange smm_ranges[16]
    int n_smm_ranges

cdef struct Shared:          # one for all processors of a machine
    Memory memory
    Trace** hash             # TRACE_HASH buckets
    uint64_t n_traces, n_flushes, n_stale
    uint64_t quiet_stores    # stores to pages whose decoded code has all become stale
    Cpu* cpus[64]
    int n_cpus
    void* arena              # trace storage (core/trace.pyx)
    int flush_wanted
    void (*hook)(Cpu* c, Insn* i) noexcept nogil     # MODE_HOOKED
    void* hook_object
    void (*exit_hook)(Cpu* c) noexcept nogil         # called at every exit from guest mode, where it is set

cdef struct Cpu:
    # --- hot ---
    uint64_t r[24]
    int64_t f_result, f_a, f_b
    uint32_t f_kind
    uint32_t exit
    int64_t budget           # instructions left in this slice; a trace charges all of its own at entry
    uint64_t tlb_key         # OR-ed into tags of data accesses; a value no entry has while every access must go slow
    uint64_t ea_mask         # all ones in 64-bit mode, FFFFFFFFh otherwise
    uint64_t sp_mask         # FFFFh, FFFFFFFFh or all ones
    uint64_t stack_base      # of SS, 0 in 64-bit mode
    uint64_t stack_limit     # stack pointers below this need no check for up to 8 bytes; 0 where every one does
    uint32_t mode            # MODE_* now in force (without MODE_SINGLE)
    Insn* next               # loop form only
    Insn* current            # record being executed on a slow path; NULL otherwise
    Trace** link             # link to patch with the trace found next, or NULL
    uint64_t mtmp            # value of a slow load

    # --- saved: architectural ---
    uint64_t rflags          # all but the arithmetic flags, bit 1 set; use read_rflags()/write helpers of flags.pxd
    uint32_t cpl
    uint32_t activity
    uint32_t interrupt_shadow   # 1: STI shadow, 2: MOV SS shadow (both last one instruction)
    uint32_t nmi_blocked
    uint32_t in_smm
    Segment seg[8]
    TableRegister gdtr, idtr
    uint64_t cr0, cr2, cr3, cr4, xcr0
    uint64_t dr[8]
    uint64_t pending_debug   # DR6 bits of a trap to deliver before the next instruction
    uint64_t pdpte[4]        # PAE paging's page-directory-pointer entries, loaded by MOV CR3
    uint64_t efer, star, lstar, cstar, fmask, kernel_gs_base, tsc_aux
    uint64_t sysenter_cs, sysenter_esp, sysenter_eip
    uint64_t pat
    uint64_t mtrr_def_type
    uint64_t mtrr_physbase[16]
    uint64_t mtrr_physmask[16]
    uint64_t mtrr_fixed[11]
    int64_t tsc_offset       # TSC = virtual ns + offset (wrapped)
    uint64_t tsc_adjust
    uint64_t misc_enable
    uint64_t feature_control
    uint64_t debugctl
    uint64_t mcg_status
    uint64_t mcg_ctl
    uint64_t mci[128]
    uint64_t xss
    uint64_t u_cet, s_cet, ssp, interrupt_ssp_table     # control-flow enforcement (SDM 1, chapter 17)
    uint64_t pl_ssp[4]
    uint64_t spec_ctrl
    uint64_t ucode_revision, vm_cr, vm_hsave_pa, syscfg, hwcr
    uint64_t other_msrs[64]  # MSRs that only keep what is written; slots by isa/msrs.py
    uint64_t lbr_from, lbr_to    # last branch (AMD APM 2, 13.1.1.6)
    uint64_t last_int_from, last_int_to      # the last branch before the last interrupt or exception
    uint64_t perf_select[6], perf_counter[6] # counters (APM 2, 13.2): events and counts; of running ones less `retired`
    uint32_t pkru, pkrs          # protection keys of user and of supervisor pages
    uint32_t mxcsr
    uint64_t smbase
    uint64_t monitor_address
    uint32_t monitor_armed
    Fpu fpu
    Vec vec[20]              # XMM0..15; 16 is the temporary for memory operands
    int64_t retired_base     # instructions retired before the running slice
    Fault fault
    Fault first_fault, second_fault   # for the triple-fault report
    FaultPlace fault_places[3]   # where those two and the third were met
    uint64_t random_state    # RDRAND/RDSEED's recorded stream position
    uint32_t index           # processor number
    uint32_t saved_end
    # --- derived ---
    Fault exception          # the last one that was delivered while exits were recorded
    FaultPlace exception_place
    uint32_t shutdown_cause  # ShutdownCause: what led to ACTIVITY_SHUTDOWN
    int64_t deferred         # what a kick took off the slice, to be given back at the next boundary
    uint32_t a20_seen, interrupt_shadow_before
    int64_t slice            # length of the running slice; retired = retired_base + slice - budget
    uint64_t real_key        # the address-space key now in force (tlb_key, but never the never-matching one)
    uint64_t exec_half       # what exec_entry() flips in an index under that key
    uint64_t fetch_key       # real_key, the mode, and how often translations of code were forgotten (tlb.set_mode): never 0
    uint64_t fetch_epoch
    uint16_t key_user, key_super, key_super_ac
    uint16_t next_key
    uint32_t victim_hits     # every fourth entry that is found among the victims goes back to its place
    uint8_t pcids_used       # some key of pcid_key is not that of PCID 0
    uint8_t wp_overridden    # some write entry may be there only because CR0.WP was clear
    uint16_t pcid_key[4096]
    uint64_t large_filter[64]     # which 2 MiB frames of linear space may have been cached from a large page (hashed bits)
    uint64_t huge_filter[64]      # the same for 1 GiB frames
    uint64_t cs_base         # 0 in 64-bit mode
    uint64_t cs_high         # last valid offset of CS; all ones in 64-bit mode
    uint64_t maxphyaddr_mask # reserved physical address bits
    uint8_t features[256]    # by isa feature number
    void* model              # ProcessorModel of core/model.pxd: CPUID leaves, valid register bits
    bint features_pse36, features_pdpe1gb
    Signals* signals
    Board* board
    Shared* shared
    void* object             # the Python object of this processor (borrowed)
    int stop_reason
    uint64_t breakpoint_pages # pages under a data breakpoint exist
    TlbEntry tlb_read[1024]
    TlbEntry tlb_write[1024]
    TlbEntry tlb_exec[16384]
    Trace** return_links[32] # where the last near CALLs keep the trace behind them: RET looks there first
    Trace* no_link
    uint32_t return_top
    JumpEntry jump_cache[4096]   # by hashed RIP
    JumpEntry slot_cache[1024]   # of branches through memory: by where they read their target
    handler_t slot_first[1024]   # JumpEntry.first of each once more, where an address leads to it in fewer steps
    TlbEntry victim_read[64]     # what fills of tlb_read and tlb_write pushed out, by the low bits of the page
    TlbEntry victim_write[64]
    uint64_t delivered[8][256]    # events so far, by kind (EVENT_*) and vector: counters for people
    # --- virtualization: each has a saved and a derived part of its own ---
    Virtualization virt
    Vmx vmx
    Svm svm

# ----- helpers every handler uses -----

cdef inline void chain(Cpu* c, Insn* i) noexcept nogil:
    """Goes on with the next record. Always the last statement of a handler."""
    if LOOP_FORM:
        c.next = i + 1
    else:
        i[1].fn(c, i + 1)

cdef inline Trace* trace_of(Insn* i) noexcept nogil:
    cdef Trace* t = <Trace*>0
    return <Trace*>(<char*>(i - i.pos) - (<char*>&t.insns[0] - <char*>t))

cdef inline uint64_t rip_of(Cpu* c, Insn* i) noexcept nogil:
    """RIP of the instruction itself. (EIP does not wrap at 64 KiB in 16-bit code: passing the limit is #GP.)"""
    cdef uint64_t rip = c.r[REG_RIP] + i.ip
    if (c.mode & MODE_CODE) == MODE_CODE64:
        return rip
    return <uint32_t>rip

cdef inline uint64_t next_rip_of(Cpu* c, Insn* i) noexcept nogil:
    cdef uint64_t rip = c.r[REG_RIP] + i.ip + i.length
    if (c.mode & MODE_CODE) == MODE_CODE64:
        return rip
    return <uint32_t>rip

cdef inline void unwind(Cpu* c, Insn* i) noexcept nogil:
    """Back to the state before instruction i: rip is its start, instructions from i on are not charged."""
    c.current = NULL
    c.link = NULL
    if i == NULL:            # outside any instruction: event delivery
        return
    c.r[REG_RIP] = rip_of(c, i)
    c.budget += <int64_t>trace_of(i).n_instructions - i.idx

cdef inline void fault_code(Cpu* c, Insn* i, int vector, uint32_t error) noexcept nogil:
    """Raises a fault with an error code; the handler returns right after."""
    unwind(c, i)
    c.fault.vector = <uint8_t>vector
    c.fault.kind = EVENT_EXCEPTION
    c.fault.has_error = 1
    c.fault.trap = 0
    c.fault.error = error
    c.exit = EXIT_FAULT

cdef inline void fault(Cpu* c, Insn* i, int vector) noexcept nogil:
    """Raises a fault without an error code; the handler returns right after."""
    unwind(c, i)
    c.fault.vector = <uint8_t>vector
    c.fault.kind = EVENT_EXCEPTION
    c.fault.has_error = 0
    c.fault.trap = 0
    c.fault.error = 0
    c.exit = EXIT_FAULT

cdef inline void finish_at(Cpu* c, Insn* i, uint64_t rip) noexcept nogil:
    """Ends a terminal instruction (attribute `end`): it retires, rip is the next one, the run loop looks at everything anew.
    The handler returns right after."""
    c.r[REG_RIP] = rip
    c.budget += <int64_t>trace_of(i).n_instructions - i.idx - 1
    c.current = NULL
    c.link = NULL

cdef inline void finish(Cpu* c, Insn* i) noexcept nogil:
    """finish_at() the next sequential instruction."""
    finish_at(c, i, next_rip_of(c, i))

cdef inline int64_t retired(Cpu* c) noexcept nogil:
    """Instructions retired by this processor; exact where c.current is set, or between traces."""
    cdef int64_t n = c.retired_base + c.slice - c.budget
    if c.current != NULL:
        n -= <int64_t>trace_of(c.current).n_instructions - c.current.idx
    return n

# Register access by width. dst and src of byte records are byte offsets into r.
cdef inline uint_t get_r(Cpu* c, uint8_t n, uint_t kind) noexcept nogil:
    if uint_t is uint8_t:
        return (<uint8_t*>&c.r[0])[n]
    else:
        return <uint_t>c.r[n]

# Parts of a register are written as the whole of it: a narrow store would keep the host from forwarding the register to
# the 64-bit load that soon follows (a dozen cycles).
cdef inline void set_r(Cpu* c, uint8_t n, uint_t value) noexcept nogil:
    cdef uint64_t* whole
    if uint_t is uint8_t:
        whole = <uint64_t*>(<uint8_t*>&c.r[0] + n)
        # AL to R15L, sooner done than AH to BH; + for gcc, which would make the narrow store of an |
        if likely(not n & 7):
            whole[0] = (whole[0] & ~<uint64_t>0xFF) + value
        else:
            whole = <uint64_t*>(<uint8_t*>whole - 1)
            whole[0] = (whole[0] & ~<uint64_t>0xFF00) + (<uint64_t>value << 8)
    elif uint_t is uint16_t:
        c.r[n] = (c.r[n] & ~<uint64_t>0xFFFF) | value
    else:
        c.r[n] = value            # 32-bit results clear the upper half

cdef inline uint64_t base_ea_of(Cpu* c, Insn* i) noexcept nogil:
    """ea_of() where there is no index and nothing to mask (peephole.address_forms)."""
    return c.r[i.base] + <uint64_t><int64_t>i.disp

cdef inline TlbEntry* exec_entry(Cpu* c, uint64_t linear) noexcept nogil:
    """Where the translation of a code page is kept: user and supervisor mode (odd and even keys) in halves of their own,
    so that code at both levels in one page does not drive itself out."""
    return &c.tlb_exec[((linear >> PAGE_SHIFT) ^ c.exec_half) & (EXEC_TLB_SIZE - 1)]

cdef inline uint64_t ea_of(Cpu* c, Insn* i) noexcept nogil:
    """Linear address of the memory operand (segmentation is done by a SEGMENT_EA record before this one)."""
    # the index last: it is what the host has to wait for
    return ((c.r[i.base] + <uint64_t><int64_t>i.disp) + (c.r[i.index] << i.scale)) & c.ea_mask

cdef inline uint64_t wide_ea_of(Cpu* c, Insn* i) noexcept nogil:
    """ea_of() of an instruction that only 64-bit code has: nothing to mask."""
    return (c.r[i.base] + <uint64_t><int64_t>i.disp) + (c.r[i.index] << i.scale)

cdef inline uint64_t indexed_by(Cpu* c, Insn* i, uint64_t index) noexcept nogil:
    """wide_ea_of() where the value of the index register is at hand, in a table of addresses."""
    return (c.r[i.base] + <uint64_t><int64_t>i.disp) + index * 8
