// ctcnet-examples crops MODEL.onnx CROPS.u16 [BACKGROUND SCALE]
using System;

static class Program
{
    static int Main(string[] args)
    {
        if ((args.Length != 3 && args.Length != 5) || args[0] != "crops")
        {
            Console.Error.WriteLine("usage: ctcnet-examples crops MODEL.onnx CROPS.u16 [BACKGROUND SCALE]");
            return 2;
        }
        string background = args.Length == 5 ? args[3] : null;
        string scale = args.Length == 5 ? args[4] : null;
        try
        {
            ClassifyCrops.Run(args[1], args[2], background, scale);
            return 0;
        }
        catch (Exception error)
        {
            Console.Error.WriteLine("error: " + error.Message);
            return 2;
        }
    }
}
