// A shared library whose two versions give different results for the same data: what a base image's update may do to an analysis.
// Version 1 fits a line through the origin, version 2 a line with an intercept. Both have the same interface.
double fit_slope(const double *x, const double *y, int count)
{
	double sx = 0, sy = 0, sxx = 0, sxy = 0;
	for (int i = 0; i < count; i++) {
		sx += x[i];
		sy += y[i];
		sxx += x[i] * x[i];
		sxy += x[i] * y[i];
	}
	if (FIT_VERSION == 1)
		return sxy / sxx;
	return (count * sxy - sx * sy) / (count * sxx - sx * sx);
}

int fit_version(void)
{
	return FIT_VERSION;
}
