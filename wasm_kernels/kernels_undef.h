/* Ends one reading of kernels.def. */
#undef RV_KERNEL
#undef RV_INT
#undef RV_FLOAT
#undef RV_IN
#undef RV_IN_OPTIONAL
#undef RV_OUT
#undef RV_OUT_OPTIONAL
#undef RV_SCRATCH
#undef RV_END
