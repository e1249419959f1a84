/* bcryptprimitives.dll for a wine that has none: Rust's standard library asks it for random numbers. */
#include <windows.h>

BOOLEAN NTAPI SystemFunction036(PVOID, ULONG);

__declspec(dllexport) BOOL WINAPI ProcessPrng(BYTE *to, SIZE_T bytes)
{
    while (bytes > 0) {
        ULONG some = bytes > 0x10000000 ? 0x10000000 : (ULONG)bytes;
        if (!SystemFunction036(to, some)) return FALSE;
        to += some;
        bytes -= some;
    }
    return TRUE;
}
